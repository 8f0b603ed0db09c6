"""Serialization of documents to lines of JSON.

Besides JSON's own types: ``datetime``, ``date`` and ``time`` become ISO 8601, ``Decimal`` a number, ``UUID`` a string,
an ``Enum`` its value; sets become sorted arrays, deterministic across runs; mappings, dataclasses, pydantic models and
attrs classes become objects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

from headwater_client.errors import NotJson
from headwater_client.sets import in_order, may_hold_sets

# Four times as fast, with the same result, where it is installed: the extra 'fast'.
try:
    import orjson
except ImportError:
    orjson = None


def line_of(document: object) -> bytes:
    """Return a document as a line of JSON in UTF-8, including the newline.

    Raises:
        NotJson: it cannot be written as JSON, or is not an object.
    """
    return _quick_line_of(document) or _slow_line_of(document)


def _quick_line_of(document: object) -> bytes | None:
    """Return the line by orjson; None if the document needs the slow path."""
    if orjson is None:
        return None
    try:
        line = orjson.dumps(document, plain, _OPTIONS)
    except (TypeError, RecursionError):  # json can do some of it: huge numbers, numbers as keys
        return None
    # orjson writes NaN and infinities as null.
    return None if b"null" in line or line[:1] != b"{" else line


def _slow_line_of(document: object) -> bytes:
    line = json_of(document)
    if line[:1] != b"{":
        raise NotJson("", f"a document is an object, and this is {_named(document)}")
    return line + b"\n"


def json_of(value: object) -> bytes:
    """Return a value as JSON in UTF-8.

    Raises:
        NotJson: it cannot be written as JSON.
    """
    try:
        return _ENCODE(value).encode()
    except NotJson as error:
        raise _located(value) or error from None
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        raise _located(value) or NotJson("", str(error)) from None


def plain(value: object) -> Any:
    """Convert a value that JSON does not have into one that it has, one level deep.

    Raises:
        NotJson: there is no conversion.
    """
    for kind, convert in _CONVERSIONS.items():
        if isinstance(value, kind):
            return convert(value)
    members = _members(value)
    if members is None:
        raise NotJson("", f"{_named(value)} cannot be JSON")
    return members


def _members(value: Any) -> dict[str, Any] | None:
    """Return the fields of a model, dataclass or attrs object; None for other classes."""
    if isinstance(value, type):
        return None
    if hasattr(value, "model_dump"):
        # Consistent with the model's JSON Schema: with aliases, and decimals as strings.
        dumped: Any = value.model_dump(mode="json", by_alias=True)
        if may_hold_sets(cast("type[Any]", type(value))):
            dumped = _with_sets_sorted(dumped, value.model_dump(by_alias=True))
        return dumped
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    attributes: Any = getattr(cast("Any", type(value)), "__attrs_attrs__", None)
    return None if attributes is None else {each.name: getattr(value, each.name) for each in attributes}


def _with_sets_sorted(dumped: Any, held: Any) -> Any:
    """Return a dumped model with those lists sorted that are sets in the model itself."""
    if isinstance(dumped, list) and isinstance(held, (set, frozenset)):
        return in_order(cast("list[Any]", dumped), _ENCODE)
    if isinstance(dumped, dict) and isinstance(held, dict):
        pairs = cast("dict[str, Any]", dumped), cast("dict[Any, Any]", held)
        if len(pairs[0]) == len(pairs[1]):
            return {
                name: _with_sets_sorted(member, other)
                for (name, member), other in zip(pairs[0].items(), pairs[1].values(), strict=True)
            }
    if isinstance(dumped, list) and isinstance(held, (list, tuple)):
        lists = cast("list[Any]", dumped), cast("Sequence[Any]", held)
        if len(lists[0]) == len(lists[1]):
            return [_with_sets_sorted(member, other) for member, other in zip(*lists, strict=True)]
    return cast("Any", dumped)


def _number(value: Decimal) -> float | int:
    """Return a decimal as a number with the same JSON text."""
    if value.is_finite():
        if value == value.to_integral_value():
            return int(value)
        as_float = float(value)
        if Decimal(repr(as_float)) == value:
            return as_float
    raise NotJson("", f"{value!r} is no number that survives JSON; make it a text, or round it")


#: Conversions by type; datetime is a subclass of date.
_CONVERSIONS: dict[type, Callable[[Any], Any]] = {
    date: lambda value: value.isoformat(),
    time: lambda value: value.isoformat(),
    Decimal: _number,
    Enum: lambda value: value.value,
    UUID: str,
    Mapping: dict,
    AbstractSet: lambda value: in_order(value, _ENCODE),
}

_OPTIONS = (
    0
    if orjson is None
    else orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
)

_ENCODE = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False, default=plain
).encode


def _located(document: object) -> NotJson | None:
    """Return the first error in a document, with its JSON pointer; None if every part is valid by itself."""
    return next(_flaws(document, "", ()), None)


def _flaws(value: object, pointer: str, around: tuple[int, ...]) -> Iterator[NotJson]:
    own = id(value)
    if own in around:
        yield NotJson(pointer, "it holds itself")
    elif value is None or isinstance(value, (str, int, float)):
        yield from _flaws_of_scalar(value, pointer)
    elif isinstance(value, (dict, list, tuple)):
        for name, member in _inside(cast("Any", value)):
            place = f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"
            if name is None or isinstance(name, (str, int, float)):
                yield from _flaws_of_scalar(name, place)
            else:
                yield NotJson(place, f"a name is a text, and this is {_named(name)}")
            yield from _flaws(member, place, (*around, own))
    else:
        try:
            inner = plain(value)
        except NotJson as error:
            yield NotJson(pointer, error.detail)
        else:
            yield from _flaws(inner, pointer, (*around, own))


def _inside(value: dict[Any, Any] | Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return value.items() if isinstance(value, dict) else enumerate(value)


def _flaws_of_scalar(value: object, pointer: str) -> Iterator[NotJson]:
    try:
        _ENCODE(value).encode()
    except UnicodeEncodeError:
        yield NotJson(pointer, f"{value!r} holds half of a surrogate pair, which is no character")
    except ValueError:
        yield NotJson(pointer, f"{value!r} is no number in JSON")


#: Maximum characters of a value quoted in an error.
_QUOTED = 60


def _named(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= _QUOTED else text[:_QUOTED] + '...'} ({type(value).__name__})"
