"""Documents as lines of JSON.

Beside what JSON knows: ``datetime``, ``date`` and ``time`` become ISO 8601, ``Decimal`` a number, ``UUID`` a text, an
``Enum`` its value; sets become arrays; mappings, dataclasses, pydantic models and attrs classes become objects.
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

# A quarter of the time for the same result, where it is installed: pip install 'headwater-client[fast]'.
try:
    import orjson
except ImportError:
    orjson = None


def line_of(document: object) -> bytes:
    """Return a document as a line of JSON in UTF-8, its end included.

    Raises:
        NotJson: it cannot be JSON, or is not an object.
    """
    return _quick_line_of(document) or _slow_line_of(document)


def _quick_line_of(document: object) -> bytes | None:
    """Return the same for most documents; None for those that have to be looked at closely."""
    if orjson is None:
        return None
    try:
        line = orjson.dumps(document, plain, _OPTIONS)
    except (TypeError, RecursionError):  # what it cannot do, json can: huge numbers, numbers as names
        return None
    # It takes what is no number for null.
    return None if b"null" in line or line[:1] != b"{" else line


def _slow_line_of(document: object) -> bytes:
    try:
        line = _ENCODE(document).encode()
    except NotJson as error:
        raise _located(document) or error from None
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        raise _located(document) or NotJson("", str(error)) from None
    if line[:1] != b"{":
        raise NotJson("", f"a document is an object, and this is {_named(document)}")
    return line + b"\n"


def plain(value: object) -> Any:
    """Return a value that JSON does not know as one that it knows, one level deep.

    Raises:
        NotJson: there is none.
    """
    for kind, way in _WAYS.items():
        if isinstance(value, kind):
            return way(value)
    members = _members(value)
    if members is None:
        raise NotJson("", f"{_named(value)} cannot be JSON")
    return members


def _members(value: Any) -> dict[str, Any] | None:
    """Return what an object of a class holds; None if the class is of no kind that says so."""
    if isinstance(value, type):
        return None
    if hasattr(value, "model_dump"):
        # As the model's JSON Schema says it: with its aliases, and decimals as texts.
        return value.model_dump(mode="json", by_alias=True)
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    attributes: Any = getattr(cast("Any", type(value)), "__attrs_attrs__", None)
    return None if attributes is None else {each.name: getattr(value, each.name) for each in attributes}


def _number(value: Decimal) -> float | int:
    """Return a decimal as a number that reads the same."""
    if value.is_finite():
        if value == value.to_integral_value():
            return int(value)
        as_float = float(value)
        if Decimal(repr(as_float)) == value:
            return as_float
    raise NotJson("", f"{value!r} is no number that survives JSON; make it a text, or round it")


#: How values of a kind become JSON; a datetime is a date.
_WAYS: dict[type, Callable[[Any], Any]] = {
    date: lambda value: value.isoformat(),
    time: lambda value: value.isoformat(),
    Decimal: _number,
    Enum: lambda value: value.value,
    UUID: str,
    Mapping: dict,
    AbstractSet: list,
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
    """Return what is wrong with a document, with the place; None if each part for itself is well."""
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


#: Characters of a value that an error quotes.
_QUOTED = 60


def _named(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= _QUOTED else text[:_QUOTED] + '...'} ({type(value).__name__})"
