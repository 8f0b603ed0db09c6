"""Redaction: removes secrets from text and JSON of other parties, in whatever encoding."""

import base64
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from headwater.domain.text_encodings import BASE64_RUN, LAYERS, View, base64_cores, base64_run, from_base64

#: Replaces a secret.
REDACTED = "********"
#: Fragments of a secret of at least this length are redacted as well: error messages often shorten what they quote.
FRAGMENT = 12
#: A shorter secret is redacted only if no letter or digit adjoins it: "1" must not damage "100".
SHORTEST_INSIDE_WORDS = 4
#: Maximum depth of nested encodings.
DEEPEST = 4
#: Maximum length of texts that are searched for fragments.
LONGEST_FOR_FRAGMENTS = 64 << 10
#: Maximum number of indexed fragments of a secret; those of a longer one are further apart.
MOST_FRAGMENTS = 4096
#: Maximum number of characters that are decoded for one value; what would need more is redacted entirely.
MOST_DECODED = 256 << 10


class _BudgetSpent(Exception):
    """Too much is encoded to search it in reasonable time."""


class _Budget:
    """The number of characters that may still be decoded."""

    def __init__(self) -> None:
        self._left = MOST_DECODED

    def spend(self, characters: int) -> None:
        if characters > self._left:
            raise _BudgetSpent
        self._left -= characters


class Redactor:
    """Removes secrets from texts of other parties."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Remove each of the texts, and fragments of them."""
        variants = sorted({form for secret in secrets for form in _variants(secret)}, key=len, reverse=True)
        self._literals = variants
        self._base64 = sorted(
            {core for secret in variants if len(secret) >= SHORTEST_INSIDE_WORDS for core in base64_cores(secret)}
        )
        self._fragments: dict[str, tuple[str, int]] = {}
        for secret in variants:
            if len(secret) > FRAGMENT:
                for at in range(0, len(secret) - FRAGMENT + 1, max(1, len(secret) // MOST_FRAGMENTS)):
                    self._fragments.setdefault(secret[at : at + FRAGMENT], (secret, at))

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        return self._text(text, _Budget())

    def json(self, value: Any) -> Any:
        """Return a JSON value without the secrets, including those in names and numbers."""
        return self._json(value, _Budget()) if self._literals else value

    def _text(self, text: str, budget: _Budget) -> str:
        if not self._literals or not text:
            return text
        try:
            spans = self._spans(text, DEEPEST, budget)
        except _BudgetSpent:
            return REDACTED
        return _replaced(text, spans) if spans else text

    def _json(self, value: Any, budget: _Budget) -> Any:
        if isinstance(value, str):
            return self._text(value, budget)
        if isinstance(value, dict):
            named = cast("dict[str, Any]", value)
            return {self._text(name, budget): self._json(each, budget) for name, each in named.items()}
        if isinstance(value, list):
            return [self._json(each, budget) for each in cast("list[Any]", value)]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return REDACTED if self._is_number(value) else value
        return value

    def _is_number(self, value: float) -> bool:
        try:
            return str(value) in self._literals
        except ValueError:  # an integer of thousands of digits
            return False

    def _spans(self, text: str, depth: int, budget: _Budget) -> list[tuple[int, int]]:
        """Return the spans of secrets in a text, in any order."""
        spans: list[tuple[int, int]] = []
        seen = {text}
        views = [View(text, range(len(text)), range(1, len(text) + 1))]
        for _ in range(depth):
            decoded: list[View] = []
            for view in views:
                found = self._found(view.text, depth, budget)
                spans += [(view.starts[start], view.ends[end - 1]) for start, end in found]
                for layer, decode in LAYERS:
                    if layer.search(view.text):
                        budget.spend(len(view.text))
                        decoded.append(view.without(layer, decode))
            views = list[View]()
            for view in decoded:
                if view.text and view.text not in seen:
                    seen.add(view.text)
                    views.append(view)
        return spans

    def _found(self, text: str, depth: int, budget: _Budget) -> Iterator[tuple[int, int]]:
        folded = _folded(text)
        for secret in self._literals:
            for start in _places(folded, secret):
                end = start + len(secret)
                if len(secret) >= SHORTEST_INSIDE_WORDS or _is_word(text, start, end):
                    yield start, end
        if len(text) <= LONGEST_FOR_FRAGMENTS:
            yield from self._found_fragments(folded)
            yield from self._found_beginning(folded)
        for core in self._base64:
            for start in _places(text, core):
                yield base64_run(text, start, start + len(core))
        for run in BASE64_RUN.finditer(text):
            inside = from_base64(run[0])
            if depth > 1 and inside is not None and self._spans(inside, depth - 1, budget):
                yield run.span()

    def _found_fragments(self, text: str) -> Iterator[tuple[int, int]]:
        at = 0
        while self._fragments and at <= len(text) - FRAGMENT:
            found = self._fragments.get(text[at : at + FRAGMENT])
            if found is None:
                at += 1
                continue
            secret, inside = found
            start, end = at, at + FRAGMENT
            while start > 0 and inside > 0 and text[start - 1] == secret[inside - 1]:
                start, inside = start - 1, inside - 1
            while end < len(text) and inside + end - start < len(secret) and text[end] == secret[inside + end - start]:
                end += 1
            yield start, end
            at = end

    def _found_beginning(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the beginning of a secret at the very end, where the text was truncated."""
        for secret in self._literals:
            most = min(len(secret) - 1, FRAGMENT, len(text))
            for length in range(most, SHORTEST_INSIDE_WORDS - 1, -1):
                if text.endswith(secret[:length]):
                    yield len(text) - length, len(text)
                    break


#: Removes nothing.
NOTHING = Redactor()


def leaves(value: Any) -> Iterator[str]:
    """Yield the texts and numbers of a JSON value, as texts."""
    match value:
        case str():
            yield value
        case dict():
            for each in cast("dict[str, Any]", value).values():
                yield from leaves(each)
        case list():
            for each in cast("list[Any]", value):
                yield from leaves(each)
        case int() | float() if not isinstance(value, bool):
            try:
                yield str(value)
            except ValueError:  # an integer of thousands of digits
                return
        case _:
            return


def secrets_of_headers(headers: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets in HTTP headers: their values, tokens after ``Bearer``, parts of cookies."""
    for value in headers.values():
        yield value
        scheme, _, rest = value.partition(" ")
        if rest:
            yield rest.strip()
        if scheme.lower() == "basic":
            yield from _secrets_of_basic(rest.strip())
        yield from (part for part in re.split(r"[\s;,=]+", value) if len(part) >= FRAGMENT)


def secrets_of_url(url: str) -> Iterator[str]:
    """Yield the secrets in a URL: a password before its host, and the values of its query."""
    try:
        parts = urlsplit(url)
        secrets = [parts.password or "", *(pair.partition("=")[2] for pair in parts.query.split("&"))]
    except ValueError:
        return
    for secret in secrets:
        if len(secret) >= SHORTEST_INSIDE_WORDS:
            yield secret
            yield unquote(secret)


def without_password(url: str | None) -> str | None:
    """Return a URL whose password, if there is one before its host, is redacted."""
    return url and re.sub(r"(?<=//)([^/?#@:]*):[^/?#]*@", rf"\1:{REDACTED}@", url, count=1)


def _secrets_of_basic(encoded: str) -> Iterator[str]:
    try:
        plain = base64.b64decode(encoded).decode()
    except ValueError:
        return
    yield plain
    yield plain.partition(":")[2]


def _folded(text: str) -> str:
    """Return a text in lower case, if that keeps the position of each character."""
    lower = text.lower()
    return lower if len(lower) == len(text) else text


def _variants(secret: str) -> Iterator[str]:
    """Yield the forms of a secret to search for, once all layers of encoding are decoded."""
    mistaken = secret.encode(errors="replace").decode("latin-1")
    forms = {secret, secret.strip(), unicodedata.normalize("NFC", secret), unicodedata.normalize("NFD", secret)}
    if len(secret) >= SHORTEST_INSIDE_WORDS:
        forms |= {mistaken, secret.encode(errors="replace").hex()}
    yield from {_folded(form) for form in forms if form.strip()}
    if _folded(secret) != secret:
        yield secret  # for searches without decoding


def _places(text: str, part: str) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + len(part))


def _is_word(text: str, start: int, end: int) -> bool:
    before, behind = text[max(0, start - 1) : start], text[end : end + 1]
    return not (before.isalnum() or behind.isalnum())


def _replaced(text: str, spans: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    last = 0
    for start, end in sorted(spans):
        if end <= last:
            continue
        if start > last or not pieces:
            pieces += (text[last:start], REDACTED)
        last = end
    return "".join([*pieces, text[last:]])
