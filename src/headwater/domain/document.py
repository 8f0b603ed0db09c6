"""The id of a document."""

from hashlib import sha256
from typing import Any

import msgspec

_CANONICAL = msgspec.json.Encoder(order="sorted")


def document_id(document: dict[str, Any], field: str | None) -> str:
    """Return the id under which a stream shows the document.

    That is the value of ``field``, a string as it is and an integer in decimal; where the field is
    absent or of another type, or there is none, an id made from the content.
    """
    value = document.get(field) if field is not None else None
    if isinstance(value, str):
        return value
    # True and False are ints to Python, but not ids.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return content_id(document)


def content_id(document: dict[str, Any]) -> str:
    """Return ``sha256:`` and the hash of the document with keys sorted and white space removed.

    What is hashed is the document's value, so that key order, white space and escapes do not matter,
    nor how a number is written (1e2 is 100.0); but an integer is not a fraction: 1 is not 1.0.
    """
    return "sha256:" + sha256(_CANONICAL.encode(document)).hexdigest()
