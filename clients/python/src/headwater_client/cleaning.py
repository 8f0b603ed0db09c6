"""Sanitizes messages, details and metadata: replaces what JSON or Headwater's databases cannot store.

They are repaired and never refused, so that no task stays open because its last message holds a lone surrogate.
Documents are not repaired: ``encoding.py`` refuses what it cannot write unchanged.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, cast

from headwater_client.encoding import plain

#: Maximum nesting depth, the same as the server's.
DEEPEST = 90
#: Maximum bits of an integer; CPython refuses to format integers of more than 4,300 digits.
_LONGEST_INTEGER = 14_000
#: Maximum length of the text that stands for a value of an unknown type.
_LONGEST_TEXT = 1000

_CUT = "…"
_REPLACEMENT = "\ufffd"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def clean_text(value: object) -> str:
    """Return a string with U+FFFD in place of characters that cannot be stored. Other values are converted first."""
    text = value if isinstance(value, str) else _shown(value)
    if "\0" not in text and text.isascii():
        return text
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _UNSTORABLE.sub(_REPLACEMENT, paired)


def cleaned(value: object, depth: int = 0) -> Any:
    """Return a JSON value that the server can store. Never raises an ``Exception``, whatever the value."""
    if value is None or isinstance(value, (bool, str, int, float)):
        return _scalar(value)
    if depth == DEEPEST:
        return _CUT
    try:
        return _container(value, depth)
    except Exception:  # noqa: BLE001 - a foreign object may raise anything, and the report must be sent
        return clean_text(value)


def _scalar(value: str | float | None) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    return value


def _container(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return _members(cast("Mapping[Any, Any]", value), depth)
    if isinstance(value, (Sequence, AbstractSet)) and not isinstance(value, (bytes, bytearray, memoryview)):
        members = cast("Iterable[Any]", value)
        inside: Iterable[Any] = plain(members) if isinstance(value, AbstractSet) else members
        return [cleaned(member, depth + 1) for member in inside]
    return cleaned(plain(cast("Any", value)), depth + 1)


def _members(members: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, member in members.items():
        clean_name = clean_text(name)
        while clean_name in result:
            clean_name += _REPLACEMENT
        result[clean_name] = cleaned(member, depth + 1)
    return result


def _shown(value: object) -> str:
    ways: tuple[Callable[[Any], str], ...] = (str, repr)
    for way in ways:
        with contextlib.suppress(Exception):
            return way(value)[:_LONGEST_TEXT]
    return f"<{type(value).__name__}>"
