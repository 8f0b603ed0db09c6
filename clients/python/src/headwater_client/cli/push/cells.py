"""Cells of a table, converted to JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from headwater_client.cli.push.column_types import Types

#: Converts a cell to JSON text; None if it is not of the type.
Conversion = Callable[[str], str | None]

#: Maximum digits of an integer written with an exponent.
_MOST_DIGITS = 400
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": "true", "1": "true", "false": "false", "0": "false"}
_LINE_ENDS = str.maketrans("\r\n", "  ")

as_text = json.JSONEncoder(ensure_ascii=False).encode


def conversion_to(types: Types) -> tuple[str, Conversion]:
    """Return the type of a column's cells in words, and their conversion.

    If strings are allowed, a cell is a string, so that a ZIP code keeps its leading zeros. Otherwise it is of the first
    type that it matches.
    """
    ways = [] if types is None or "string" in types else [way for name, way in _WAYS.items() if name in types]
    if not ways:
        return "text", as_text
    if "number" in (types or ()):
        ways.remove(_as_integer)
    names = [name for name, way in _WAYS.items() if way in ways]
    if len(ways) == 1:
        return names[0], ways[0]

    def first(cell: str) -> str | None:
        return next((value for value in (way(cell) for way in ways) if value is not None), None)

    return " or ".join(names), first


# Numbers keep their digits: they are matched, not parsed and written again.


def _as_number(cell: str) -> str | None:
    text = cell.strip()
    return text if _NUMBER.fullmatch(text) else None


def _as_integer(cell: str) -> str | None:
    """Convert an integer; ``1.0`` is one to JSON Schema, and what pandas writes for a column with gaps."""
    text = cell.strip()
    if _INTEGER.fullmatch(text):
        return text
    if not _NUMBER.fullmatch(text) or len(text) > _MOST_DIGITS:
        return None
    value = Decimal(text)
    if abs(value.adjusted()) > _MOST_DIGITS:
        return None
    return str(int(value)) if value == value.to_integral_value() else None


def _as_boolean(cell: str) -> str | None:
    return _BOOLEANS.get(cell.strip().lower())


def _as_array(cell: str) -> str | None:
    return _as_json(cell, "[")


def _as_object(cell: str) -> str | None:
    return _as_json(cell, "{")


def _as_json(cell: str, begin: str) -> str | None:
    text = cell.strip()
    if not text.startswith(begin):
        return None
    try:
        _STRICT.decode(text)
    except (ValueError, RecursionError):
        return None
    return text.translate(_LINE_ENDS)


def _refuse(name: str) -> Any:
    raise ValueError(name)


# NaN and Infinity are not JSON. Numbers are not converted: they may have any number of digits.
_STRICT = json.JSONDecoder(parse_constant=_refuse, parse_int=str, parse_float=str)

_WAYS: dict[str, Conversion] = {
    "integer": _as_integer,
    "number": _as_number,
    "boolean": _as_boolean,
    "array": _as_array,
    "object": _as_object,
}
