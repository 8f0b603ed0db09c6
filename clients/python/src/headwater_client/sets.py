"""Deterministic order of sets: Python's hash randomization orders strings in a set differently in each process."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, ItemsView, Iterable, KeysView, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

#: Groups of types whose values can be compared with each other.
_ORDERED: tuple[tuple[type, ...], ...] = ((str,), (bool,), (int, float, Decimal), (date,), (time,), (UUID,))
#: Types in a pydantic core schema that may be sets.
_SETS = {"set", "frozenset", "any", "is-instance"}


def in_order(values: Iterable[Any], encode: Callable[[Any], str]) -> list[Any]:
    """Return the members of a set in order: by value if they are of comparable types, else by their JSON.

    Args:
        values: the members. Mapping keys, and sets that are also sequences, keep their order.
        encode: returns a member as JSON.
    """
    members = list(values)
    if len(members) < 2 or isinstance(values, (KeysView, ItemsView)) or _is_sequence_and_set(values):  # noqa: PLR2004
        return members
    for kinds in _ORDERED:
        if all(_is_of(member, kinds) for member in members):
            try:
                return sorted(members)
            except (TypeError, ValueError, ArithmeticError):  # datetimes with and without a time zone
                break
    try:
        return sorted(members, key=encode)
    except Exception:  # noqa: BLE001 - the serializer reports it, with its JSON pointer
        return members


def _is_of(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return kinds == (bool,)
    return isinstance(value, kinds) and not (isinstance(value, float) and math.isnan(value))


def _is_sequence_and_set(values: object) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, list)


@functools.lru_cache(maxsize=1024)
def may_hold_sets(model: type[Any]) -> bool:
    """Return whether a model may contain sets, which pydantic dumps as lists in arbitrary order."""
    schema: Any = getattr(model, "__pydantic_core_schema__", None)
    return _mentions_sets(schema)


def _mentions_sets(part: Any) -> bool:
    if isinstance(part, dict):
        members = cast("dict[Any, Any]", part)
        kind = members.get("type")
        return (isinstance(kind, str) and kind in _SETS) or any(map(_mentions_sets, members.values()))
    if isinstance(part, (list, tuple)):
        return any(map(_mentions_sets, cast("Sequence[Any]", part)))
    return False
