"""JSON that every database keeps."""

import itertools
import math
from typing import cast

#: Values are nested at most so deep.
DEEPEST = 100


def unstorable(value: object, depth: int = 0) -> str | None:
    """Return why a JSON value cannot be kept by every database, or None."""
    fault = None
    if isinstance(value, str):
        if "\0" in value:
            fault = "a text holds the character U+0000, which cannot be kept"
        elif any("\ud800" <= sign <= "\udfff" for sign in value):
            fault = "a text holds half of a surrogate pair"
    elif isinstance(value, float) and not math.isfinite(value):
        fault = "a number is out of range, or none"
    elif isinstance(value, dict | list):
        if depth == DEEPEST:
            return f"it is nested deeper than {DEEPEST} levels"
        held = cast("dict[object, object] | list[object]", value)
        inside = itertools.chain(*held.items()) if isinstance(held, dict) else held
        parts = (unstorable(part, depth + 1) for part in inside)
        fault = next(filter(None, parts), None)
    return fault
