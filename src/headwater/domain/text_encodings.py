"""Encodings of a text within another one, and how to decode them."""

import base64
import binascii
import html
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

#: Fewer Base64 characters are not significant.
SHORTEST_CORE = 4

BASE64_RUN = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*={0,2}")
_BASE64_SIGNS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
_CONTINUATION = r"{0}[89ab][0-9a-f]"
_BYTES = r"(?P<{1}>{0}[0-7][0-9a-f]|{0}[cd][0-9a-f]{2}|{0}e[0-9a-f](?:{2}){{2}}|{0}f[0-7](?:{2}){{3}}|{0}[0-9a-f]{{2}})"


def _encoded_bytes(prefix: str, name: str) -> str:
    """Return a pattern for one character, as its UTF-8 bytes or its Latin-1 byte in hexadecimal after a prefix."""
    return _BYTES.format(prefix, name, _CONTINUATION.format(prefix))


_PERCENT = re.compile(_encoded_bytes("%", "bytes") + r"|%u(?P<unit>[0-9a-f]{4})", re.IGNORECASE)
_BACKSLASH = re.compile(
    r"\\u(?P<high>d[89ab][0-9a-f]{2})\\u(?P<low>d[c-f][0-9a-f]{2})|\\u(?P<unit>[0-9a-f]{4})|\\u\{(?P<point>[0-9a-f]{1,6})\}"
    r"|\\U(?P<long>[0-9a-f]{8})|" + _encoded_bytes(r"\\x", "bytes") + r"|\\(?P<sign>[^ux0-9])",
    re.IGNORECASE | re.DOTALL,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)
_PREFIXES = re.compile(r"%|\\x", re.IGNORECASE)
_PLUS = re.compile(r"\+")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def _from_hex(match: re.Match[str]) -> str:
    """Return the character of a match: from bytes, UTF-16 units or a code point."""
    kind = match.lastgroup or ""
    found = match[kind]
    if kind == "sign":
        return _CONTROLS.get(found, found)
    if kind == "bytes":
        data = bytes.fromhex(_PREFIXES.sub("", found))
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data.decode("latin-1")
    if kind == "low":
        return chr(0x10000 + ((int(match["high"], 16) - 0xD800) << 10) + int(found, 16) - 0xDC00)
    number = int(found, 16)
    return chr(number) if number <= sys.maxunicode else match[0]


def _from_entity(match: re.Match[str]) -> str:
    return html.unescape(match[0])


#: Each decodes one layer of an encoding: URL, JSON and other string literals, HTML, form fields.
LAYERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (_PERCENT, _from_hex),
    (_BACKSLASH, _from_hex),
    (_ENTITY, _from_entity),
    (_PLUS, lambda _: " "),
)


@dataclass(frozen=True)
class View:
    """A text with some layers of encoding decoded, and the position of each character in the original text."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def without(self, layer: re.Pattern[str], decode: Callable[[re.Match[str]], str]) -> "View":
        """Return the view with one more layer decoded."""
        pieces: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        last = 0
        for match in layer.finditer(self.text):
            decoded = decode(match)
            pieces += (self.text[last : match.start()], decoded)
            starts += self.starts[last : match.start()]
            ends += self.ends[last : match.start()]
            starts += [self.starts[match.start()]] * len(decoded)
            ends += [self.ends[match.end() - 1]] * len(decoded)
            last = match.end()
        pieces.append(self.text[last:])
        starts += self.starts[last:]
        ends += self.ends[last:]
        return View("".join(pieces), starts, ends)


def base64_cores(secret: str) -> Iterator[str]:
    """Yield the Base64 forms of a secret at any offset in a longer text, without characters shared with neighbours."""
    in_json = (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    in_urls = (quote(secret, errors="replace"), quote_plus(secret, errors="replace"))
    for form in {secret, *in_json, *in_urls}:
        data = form.encode(errors="replace")
        for before in range(3):
            encoded = base64.b64encode(bytes(before) + data).decode()
            core = encoded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
            if len(core) >= SHORTEST_CORE:
                yield core
                yield core.replace("+", "-").replace("/", "_")


def base64_run(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the start and end of the run of Base64 around a match."""
    while start > 0 and text[start - 1] in _BASE64_SIGNS and text[start - 1] != "=":
        start -= 1
    while end < len(text) and text[end] in _BASE64_SIGNS:
        end += 1
    return start, end


def from_base64(run: str) -> str | None:
    """Return the text that a run of Base64 encodes, if it is text."""
    signs = re.sub(r"[\r\n=]", "", run).replace("-", "+").replace("_", "/")
    try:
        text = base64.b64decode(signs[: len(signs) - (len(signs) % 4 == 1)] + "==").decode()
    except (binascii.Error, ValueError):
        return None
    return text or None
