"""Values of documents as markup: coloured by type, folded where long, and never able to run or to hide anything."""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from markupsafe import Markup, escape

#: Characters of a value in a table's cell.
CELL = 80
#: Characters of what one reads when pointing at it.
LONGEST_TITLE = 240
#: Characters of a text in a tree; the whole document is a link away.
LONGEST = 2_000
#: Values of a tree; of one among others on a page.
MOST_NODES = 1_500
FEW_NODES = 150
#: Characters that would change how the text around them looks, or that show nothing.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def decoded(text: str) -> Any:
    """Return the value of a document's text; the text itself if it is none."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def visible(text: str) -> str:
    """Return a text with characters that show nothing, or turn the others around, written out."""
    return "".join(_written_out(sign) if unicodedata.category(sign) in _HIDDEN else sign for sign in text)


#: Controls, and marks that change the direction of what follows.
_TURNING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def steady(text: str) -> str:
    """Return a text with characters that would change the text around them written out."""
    return _TURNING.sub(lambda found: _written_out(found[0]), text)


def _written_out(sign: str) -> str:
    return sign if sign in "\n\t" else f"\\u{ord(sign):04x}"


def compact(value: Any, most: int = CELL) -> Markup:
    """Return a value on one line, shortened."""
    match value:
        case str():
            kind, text = "text", value
        case None | bool() | int() | float():
            kind, text = _scalar(value)
        case _:
            kind, text = "nested", json.dumps(value, ensure_ascii=False, default=str)
    shown = visible(text[: most + 1].replace("\n", "⏎"))
    if len(text) <= most:
        return Markup('<span class="v-{}">{}</span>').format(kind, shown)
    return Markup('<span class="v-{}" title="{}">{}…</span>').format(kind, visible(text[:LONGEST_TITLE]), shown[:-1])


_IMAGE = re.compile(r"https?://[^\s\"'<>\\\\]+\.(?:png|jpe?g|gif|webp|avif)(?:\?[^\s\"'<>\\\\]*)?", re.IGNORECASE)
#: Characters of a URL that is loaded as an image.
_LONGEST_URL = 2_000


def thumbnail(value: Any) -> Markup:
    """Return a value on one line; the URL of an image, or a list of some, begins with a small picture of the first."""
    items: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
    first: object = items[0] if items else None
    if not isinstance(first, str) or len(first) > _LONGEST_URL or not _IMAGE.fullmatch(first):
        return compact(value)
    picture = Markup('<img class="thumb" src="{}" alt="" loading="lazy" referrerpolicy="no-referrer">').format(first)
    return picture + compact(value)


def _scalar(value: Any) -> tuple[str, str]:
    if value is None:
        return "null", "null"
    if isinstance(value, bool):
        return "boolean", str(value).lower()
    return "number", json.dumps(value)


@dataclass
class _Budget:
    left: int = MOST_NODES


def tree(value: Any, most: int = MOST_NODES) -> Markup:
    """Return a value as nested lists that unfold."""
    return _node(value, _Budget(most), 0)


def small_tree(value: Any) -> Markup:
    """Return a value as one of several on a page, whose whole is a link away."""
    return tree(value, FEW_NODES)


def _node(value: Any, budget: _Budget, depth: int) -> Markup:
    budget.left -= 1
    match value:
        case dict() if value:
            members = cast("dict[str, Any]", value)
            rows = [
                Markup('<li data-field="{}"><span class="v-key">{}</span> {}</li>').format(
                    str(name)[:200] if depth == 0 else "", visible(str(name))[:200], _node(each, budget, depth + 1)
                )
                for name, each in _bounded(list(members.items()), budget)
            ]
            return _list(rows, len(members), "fields" if len(members) != 1 else "field", depth)
        case list() if value:
            items = cast("list[Any]", value)
            rows = [
                Markup('<li><span class="v-index">{}</span> {}</li>').format(place, _node(each, budget, depth + 1))
                for place, each in _bounded(list(enumerate(items)), budget)
            ]
            return _list(rows, len(items), "items" if len(items) != 1 else "item", depth)
        case str():
            shown = visible(value[:LONGEST])
            more = (
                Markup('<span class="quiet"> … {:,} characters, the first {:,} shown</span>').format(
                    len(value), LONGEST
                )
                if len(value) > LONGEST
                else ""
            )
            return Markup('<span class="v-text">{}</span>{}').format(shown, more)
        case dict() | list():
            return Markup('<span class="v-null">{}</span>').format("{}" if isinstance(value, dict) else "[]")
        case _:
            kind, text = _scalar(value)
            return Markup('<span class="v-{}">{}</span>').format(kind, text)


def _bounded(pairs: list[tuple[Any, Any]], budget: _Budget) -> Iterator[tuple[Any, Any]]:
    for pair in pairs:
        if budget.left <= 0:
            return
        yield pair


def _list(rows: list[Markup], count: int, noun: str, depth: int) -> Markup:
    if len(rows) < count:
        rows = [*rows, Markup('<li class="quiet">… {:,} more; see the text</li>').format(count - len(rows))]
    inner = Markup('<ul class="tree">{}</ul>').format(Markup("").join(rows))
    if depth == 0:
        return inner
    unfolded = Markup(" open") if depth < 3 and count <= 20 else Markup("")  # noqa: PLR2004 - what one takes in
    return Markup("<details{}><summary>{:,} {}</summary>{}</details>").format(unfolded, count, noun, inner)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A field that differs between two documents."""

    #: Its path, ``author.name``.
    path: str
    #: Whether it is there before, and after.
    was: bool
    is_there: bool
    before: Any
    after: Any


_NOT = object()
#: Differences of one document that are listed.
MOST_DIFFERENCES = 200


def differences(before: Any, after: Any) -> list[Difference]:
    """Return the fields that differ, by path; a list counts as one field."""
    return list(_differing(before, after, ""))[:MOST_DIFFERENCES]


def _differing(before: Any, after: Any, path: str) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
        for name in [*old, *(name for name in new if name not in old)]:
            inner = f"{path}.{name}" if path else str(name)
            yield from _differing(old.get(name, _NOT), new.get(name, _NOT), inner)
    elif before is _NOT or after is _NOT or _text(before) != _text(after):
        yield Difference(
            path=path or "(all of it)",
            was=before is not _NOT,
            is_there=after is not _NOT,
            before=None if before is _NOT else before,
            after=None if after is _NOT else after,
        )


def _text(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def pretty(value: Any) -> str:
    """Return a value as indented JSON."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def escaped(text: str) -> Markup:
    """Return a text with hidden characters written out."""
    return escape(visible(text))
