"""Maps type hints to parameter types of Headwater, and parses their values."""

from __future__ import annotations

import collections.abc
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from enum import Enum
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d))?")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: ``X | Y`` has a class of its own.
_UNIONS = {Union, getattr(types, "UnionType", Union)}
#: Collection types for several choices, and their constructors.
_SEVERAL: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    collections.abc.Sequence: list,
    collections.abc.Collection: list,
    collections.abc.Iterable: list,
    set: set,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
    frozenset: frozenset,
    tuple: tuple,
}


class NoParameter(TypeError):
    """A type hint that Headwater's parameters do not support."""


class Unfit(ValueError):
    """A value is not of its parameter's type; the message follows the name, as in *is not an integer*."""


@dataclass(frozen=True)
class ParameterType:
    """A parameter type of the protocol, and the parser of its values."""

    #: ``string``, ``integer``, …
    type: str
    #: Converts a JSON value to the hinted type, or raises Unfit.
    read: Callable[[Any], Any]
    #: The values to choose from.
    options: tuple[str, ...] = ()
    #: Labels shown instead of the options.
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Hint:
    """A parsed type hint."""

    kind: ParameterType
    #: Whether None is allowed, so the value is not required.
    is_optional: bool
    #: Metadata of ``Annotated``.
    notes: tuple[Any, ...]


def hint_of(hint: Any, *, otherwise: Callable[[Any], ParameterType | None] = lambda _: None) -> Hint:
    """Parse a type hint.

    Args:
        hint: the hint of a field.
        otherwise: returns the type of a hint that is not known here, or None.

    Raises:
        NoParameter: Headwater's parameters do not support it.
    """
    notes: tuple[Any, ...] = ()
    is_optional = False
    while True:
        args = get_args(hint)
        if get_origin(hint) is Annotated:
            hint, notes = args[0], (*notes, *args[1:])
            continue
        wanted = [each for each in args if each is not None and each is not type(None)]
        if get_origin(hint) in _UNIONS and len(wanted) == 1:
            is_optional, hint = True, wanted[0]
        elif get_origin(hint) is Literal and len(wanted) < len(args) and wanted:
            is_optional, hint = True, cast("Any", Literal)[tuple(wanted)]
        else:
            return Hint(kind=_kind_of(hint, otherwise), is_optional=is_optional, notes=notes)


def _kind_of(hint: Any, otherwise: Callable[[Any], ParameterType | None]) -> ParameterType:
    origin: Any = get_origin(hint)
    if origin is Literal:
        return _choice({value: value for value in get_args(hint)}, hint)
    if origin in _SEVERAL:
        return _several(hint, otherwise)
    kind = (_kind_of_class(hint) if origin is None and isinstance(hint, type) else None) or otherwise(hint)
    if kind is None:
        raise NoParameter(f"no parameter of Headwater is {_named(hint)}; {_advice(hint)}")
    return kind


def _kind_of_class(hint: Any) -> ParameterType | None:
    if hint in _PLAIN:
        return _PLAIN[hint]
    if issubclass(hint, Enum):
        return _choice({member.value: member for member in hint}, hint)
    if hasattr(hint, "get_secret_value"):  # as pydantic's SecretStr has it
        return ParameterType("password", lambda value: hint(_text(value)))
    return ParameterType("string", lambda value: hint(_text(value))) if issubclass(hint, str) else None


def _choice(by_value: Mapping[Any, Any], hint: Any) -> ParameterType:
    if not by_value or not all(isinstance(value, str) for value in by_value):
        raise NoParameter(f"the values of {_named(hint)} are not all texts, and options in Headwater are")

    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in by_value:
            raise Unfit(f"is not one of {', '.join(by_value)}")
        return by_value[value]

    labels = {
        value: label
        for value, member in by_value.items()
        if isinstance(member, Enum) and (label := spoken(member.name)).lower() != spoken(value).lower()
    }
    return ParameterType("list", read, tuple(by_value), labels)


def _several(hint: Any, otherwise: Callable[[Any], ParameterType | None]) -> ParameterType:
    origin: Any = get_origin(hint)
    inner, *more = get_args(hint) or (None,)
    if inner is None:
        raise NoParameter(f"no parameter of Headwater is {_named(hint)}; {_advice(origin)}")
    if more and more != [...]:
        raise NoParameter(f"no parameter of Headwater is {_named(hint)}; tuple[…, ...] is of any length")
    one = hint_of(inner, otherwise=otherwise)
    if one.is_optional or one.kind.type not in {"list", "string"}:
        raise NoParameter(
            f"no parameter of Headwater is {_named(hint)}; several values are texts, or choices of Literal or Enum"
        )

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise Unfit("is not an array")
        return _SEVERAL[origin]([one.kind.read(each) for each in cast("list[Any]", value)])

    # Only `multi_bool` accepts strings without options.
    return ParameterType("multi_search" if one.kind.options else "multi_bool", read, one.kind.options, one.kind.labels)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit("is not a string")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit("is not a boolean")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unfit("is not an integer")
    return value


def _moment(value: Any) -> datetime:
    """Parse an RFC 3339 date or date-time; a date is midnight UTC, as in Headwater."""
    found = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Unfit("is not an RFC 3339 date or date-time")
    day, clock, fraction, zone = found.groups()
    # At most six digits of a second.
    digits = (fraction or "")[:6].ljust(6, "0")
    zone = "+00:00" if zone is None or zone in "Zz" else zone
    try:
        return datetime.fromisoformat(f"{day}T{clock or '00:00:00'}.{digits}{zone}")
    except ValueError as error:
        raise Unfit(f"is not a moment: {error}") from None


def _day(value: Any) -> date:
    found = _moment(value)
    if found.time() != time():
        raise Unfit("is not a date, but has a time")
    return found.date()


_PLAIN: dict[type, ParameterType] = {
    str: ParameterType("string", _text),
    int: ParameterType("integer", _integer),
    bool: ParameterType("bool", _boolean),
    date: ParameterType("date", _day),
    datetime: ParameterType("date", _moment),
}


def on_wire(value: Any) -> Any:
    """Return a default as sent to Headwater; None if it is not sent."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        # Sorted, so that the default is the same in each process.
        return sorted(map(on_wire, cast("set[Any]", value)))
    if isinstance(value, (list, tuple)):
        return list(map(on_wire, cast("list[Any]", value)))
    return value if value is None or isinstance(value, (str, int)) else str(value)


def spoken(name: str) -> str:
    """Return a name as a label: ``max_files`` and ``maxFiles`` become *Max files*."""
    return re.sub(r"[_\-\s]+", " ", _HUMP.sub(" ", name)).strip().capitalize()


def _named(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and get_origin(hint) is None else str(hint).replace("typing.", "")


def _advice(hint: Any) -> str:
    if hint is float:
        return "take an int of a smaller unit, or a str"
    if hint in _SEVERAL:
        return "say of what, as in list[str]"
    return "there are str, int, bool, date, datetime, Literal or Enum of texts, list of those two, and Optional"
