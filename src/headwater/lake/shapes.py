"""Inferred types of documents' fields, including lists and nested objects, across all documents.

A shape is widened by each batch of values until all of them fit: integers and fractions become numbers, and values
of mixed types become JSON texts. Values are processed column by column, which takes Python much less time than
document by document.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import chain
from typing import Any, cast

import msgspec

#: A nested object with more fields becomes a JSON text, since it is rather a mapping than a record,
MOST_FIELDS = 100
#: and so does anything nested deeper below a document than this.
DEEPEST = 8

_LEAST, _GREATEST = -(1 << 63), (1 << 63) - 1
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# Not beyond microseconds, the finest resolution of Parquet timestamps that all readers support.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(?P<offset>[Zz]|[+-]\d\d:\d\d)?", re.ASCII)

#: Converts a value that is not null; None means no conversion.
Conversion = Callable[[Any], Any] | None


class Kind(StrEnum):
    """The type of a field across all documents that have it; null fits every type."""

    #: Signed integers that fit into 64 bits.
    INTEGER = "integer"
    #: Numbers, rounded to doubles; those beyond the range of doubles become infinite.
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    #: Texts that are dates in ISO 8601.
    DATE = "date"
    #: Texts that are timestamps with an offset from UTC, in RFC 3339.
    MOMENT = "moment"
    #: Texts that are timestamps without an offset.
    LOCAL = "local"
    LIST = "list"
    OBJECT = "object"
    #: Values of mixed types, all as JSON text, strings with their quotes.
    JSON = "json"
    #: Only null.
    NOTHING = "nothing"


_KINDS = {
    type(None): Kind.NOTHING,
    bool: Kind.BOOLEAN,
    int: Kind.INTEGER,
    float: Kind.NUMBER,
    str: Kind.TEXT,
    list: Kind.LIST,
    dict: Kind.OBJECT,
}
_TEXTS = {Kind.TEXT, Kind.DATE, Kind.MOMENT, Kind.LOCAL}
_NUMBERS = {Kind.INTEGER, Kind.NUMBER}


class Shape:
    """The inferred type of a field after some values."""

    def __init__(self, depth: int = 0) -> None:
        """Begin without any values."""
        self._depth = depth
        self.kind = Kind.NOTHING
        #: The shape of a list's elements.
        self.item: Shape | None = None
        #: The shapes of an object's members.
        self.fields: dict[str, Shape] = {}

    def widen(self, values: Iterable[Any]) -> None:
        """Widen the shape so that these values fit, too."""
        if self.kind is Kind.JSON:
            return
        given = [value for value in values if value is not None]
        for type_ in set(map(type, given)):
            self._widen_to(_KINDS[type_], [value for value in given if type(value) is type_])

    def _widen_to(self, kind: Kind, values: Sequence[Any]) -> None:
        if kind is Kind.INTEGER and (min(values) < _LEAST or max(values) > _GREATEST):
            kind = Kind.NUMBER
        elif kind is Kind.TEXT and self.kind in _TEXTS | {Kind.NOTHING}:
            kind = _kind_of_texts(values, self.kind)
        self.kind = _both(self.kind, kind)
        if self.kind is Kind.LIST and self._depth < DEEPEST:
            self.item = self.item or Shape(self._depth + 1)
            self.item.widen(chain.from_iterable(values))
        elif self.kind is Kind.OBJECT and self._depth < DEEPEST:
            self._widen_fields(values)
        elif self.kind in {Kind.LIST, Kind.OBJECT}:
            self.kind = Kind.JSON
        if self.kind is Kind.JSON:
            self.item, self.fields = None, {}

    def _widen_fields(self, values: Sequence[dict[str, Any]]) -> None:
        names = dict.fromkeys(chain.from_iterable(values))
        if len(self.fields.keys() | names.keys()) > MOST_FIELDS:
            self.kind = Kind.JSON
            return
        for name in names:
            self.fields.setdefault(name, Shape(self._depth + 1)).widen([value.get(name) for value in values])

    @property
    def leaves(self) -> int:
        """The number of leaf columns, nested ones counted one by one."""
        if self.item is not None:
            return self.item.leaves
        return sum(field.leaves for field in self.fields.values()) or 1

    def flatten(self) -> None:
        """Turn lists and objects into JSON texts."""
        if self.kind in {Kind.LIST, Kind.OBJECT}:
            self.kind, self.item, self.fields = Kind.JSON, None, {}


def _both(one: Kind, other: Kind) -> Kind:
    """Return the type that fits values of both types."""
    if one is other or one is Kind.NOTHING:
        return other
    if {one, other} <= _NUMBERS:
        return Kind.NUMBER
    return Kind.TEXT if {one, other} <= _TEXTS else Kind.JSON


def _kind_of_texts(texts: Sequence[str], known: Kind) -> Kind:
    """Return the type of texts that may still be dates; stops at the first text that is not."""
    if known in {Kind.DATE, Kind.NOTHING} and all(map(_is_date, texts)):
        return Kind.DATE
    if known in {Kind.MOMENT, Kind.NOTHING} and all(_is_moment(text, has_offset=True) for text in texts):
        return Kind.MOMENT
    if known in {Kind.LOCAL, Kind.NOTHING} and all(_is_moment(text, has_offset=False) for text in texts):
        return Kind.LOCAL
    return Kind.TEXT


def _is_date(text: str) -> bool:
    return _DATE.fullmatch(text) is not None and _is_valid(date.fromisoformat, text)


def _is_moment(text: str, *, has_offset: bool) -> bool:
    found = _MOMENT.fullmatch(text)
    return found is not None and (found["offset"] is not None) is has_offset and _is_valid(moment_of, text)


def _is_valid(read: Callable[[str], Any], text: str) -> bool:
    try:
        read(text)
    except (ValueError, OverflowError):  # 2026-02-30, or the year 0 in UTC
        return False
    return True


def moment_of(text: str) -> datetime:
    """Return the time that a text in RFC 3339 names, in UTC if it has an offset."""
    moment = datetime.fromisoformat(text.upper())
    return moment if moment.tzinfo is None else moment.astimezone(UTC)


def read(text: str) -> dict[str, Any]:
    """Return the members of a document; of two with one name the last."""
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        found = _read_generously(text)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _read_generously(text: str) -> Any:
    """Read what a stricter parser refuses: numbers beyond the range of doubles and of any length."""
    try:
        return json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        return None


def _integer(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # more digits than Python converts
        return float(digits)


def as_json(value: Any) -> str:
    """Return a value as compact JSON."""
    try:
        return msgspec.json.encode(value).decode()
    except (ValueError, OverflowError, RecursionError):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def number_of(value: float) -> float:
    """Return a number as a double."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


#: Conversions from values of a type to those of a column.
SCALARS: dict[Kind, Conversion] = {
    Kind.NUMBER: number_of,
    Kind.DATE: date.fromisoformat,
    Kind.MOMENT: moment_of,
    Kind.LOCAL: moment_of,
    Kind.JSON: as_json,
}
