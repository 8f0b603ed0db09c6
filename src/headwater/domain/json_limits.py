"""Limits on JSON that every database can store."""

import itertools
import math
import re
from collections.abc import Callable
from typing import cast

#: Maximum depth of nested values.
DEEPEST = 100

#: Replaces a character that cannot be stored.
REPLACEMENT = "\ufffd"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_HALVES = re.compile("[\ud800-\udfff]")


def encodable(text: str) -> str:
    """Return a text with U+FFFD for each half of a surrogate pair, which no encoding has."""
    return _HALVES.sub("�", text)


def unstorable(value: object, depth: int = 0) -> str | None:
    """Return why a JSON value cannot be stored by every database, or None."""
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


def with_clean_texts(value: object, depth: int = 0) -> object:
    """Return a JSON value with clean texts and names; all else is as it was, ``unstorable`` values too."""
    if isinstance(value, dict | list) and depth < DEEPEST:
        return _mapped(cast("object", value), with_clean_texts, depth + 1)
    return clean_text(value) if isinstance(value, str) else cast("object", value)


def cleaned(value: object, depth: int = 0) -> object:
    """Return a JSON value with everything replaced that some database cannot store.

    For texts that people read, such as messages and names: refusing them would lose more than a character. U+0000 and
    halves of surrogate pairs become U+FFFD, numbers that are not finite become texts, and values nested deeper than
    ``DEEPEST`` levels become "…".
    """
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict | list) and depth == DEEPEST:
        return "…"
    return _mapped(cast("object", value), cleaned, depth + 1) if isinstance(value, dict | list) else value


def clean_text(text: str) -> str:
    """Return a text with U+FFFD for each character that some database cannot store."""
    # Most texts have none, and are returned unchanged.
    if "\0" not in text and text.isascii():
        return text
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _UNSTORABLE.sub(REPLACEMENT, paired)


def _mapped(value: object, clean: Callable[[object, int], object], depth: int) -> object:
    """Return a list or an object with clean names, and each member cleaned by ``clean``."""
    if isinstance(value, list):
        return [clean(member, depth) for member in cast("list[object]", value)]
    members = cast("dict[str, object]", value)
    result: dict[str, object] = {}
    for name, member in members.items():
        clean_name = clean_text(name)
        while clean_name != name and (clean_name in members or clean_name in result):
            clean_name += REPLACEMENT
        result[clean_name] = clean(member, depth)
    return result
