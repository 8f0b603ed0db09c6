"""The id of a document."""

from hashlib import sha256
from typing import Any

import msgspec

_CANONICAL = msgspec.json.Encoder(order="sorted")


def document_id(document: dict[str, Any], field: str | None) -> str:
    """Return the id of a document in its stream.

    That is the value of ``field``, a string unchanged and an integer in decimal; if the field is absent or of
    another type, or ``field`` is None, an id made from the content.
    """
    found = plain_id(document.get(field)) if field is not None else None
    return content_id(document) if found is None else found


def plain_id(value: Any) -> str | None:
    """Return the id that a value is, a string unchanged and an integer in decimal; None if it is neither."""
    if isinstance(value, str):
        return value
    # True and False are ints in Python, but not ids.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def content_id(document: dict[str, Any]) -> str:
    """Return ``sha256:`` and the hash of the document with sorted keys and without white space.

    The document's value is hashed, so that key order, white space and escapes do not matter, nor how a number is
    written (1e2 is 100.0); but an integer is not a fraction: 1 is not 1.0.
    """
    return "sha256:" + sha256(_CANONICAL.encode(document)).hexdigest()
