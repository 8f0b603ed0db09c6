"""Lines that delete a document: a version without a text.

A line ``{"$delete": "<id>"}`` deletes that id. An External may name a marker besides, a field with a value: a document
whose field has the value deletes its own id.
"""

import re
from dataclasses import dataclass
from typing import Any

from headwater.domain.document import plain_id

#: The only member of an object that deletes the id which is its value.
DELETE = "$delete"

_SHORT = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}


@dataclass(frozen=True, kw_only=True)
class DeleteMarker:
    """What marks a document as a deletion."""

    #: A top-level field.
    field: str
    #: Its value: a string, an integer, true or false.
    value: str | int | bool

    def marks(self, document: dict[str, Any]) -> bool:
        """Whether a document is a deletion."""
        value = document.get(self.field)
        # True and 1 are equal in Python, but not in JSON.
        return type(value) is type(self.value) and value == self.value

    def pattern(self) -> re.Pattern[bytes]:
        """Return a pattern that is found in the text of each deletion, and seldom in others."""
        if isinstance(self.value, bool):
            value = b"true" if self.value else b"false"
        else:
            value = _string(self.value) if isinstance(self.value, str) else str(self.value).encode()
        return re.compile(key_of(self.field) + value)


def key_of(field: str) -> bytes:
    """Return a pattern for a member's name, with its colon, however it is escaped."""
    return _string(field) + rb"[ \t\r\n]*:[ \t\r\n]*"


def _string(text: str) -> bytes:
    """Return a pattern for a JSON string, however it is escaped."""
    return b'"' + b"".join(map(_character, text)) + b'"'


def _character(character: str) -> bytes:
    units = character.encode("utf-16-be", "surrogatepass")
    pairs = [units[place : place + 2].hex() for place in range(0, len(units), 2)]
    escaped = b"".join(rb"\\u(?i:" + pair.encode() + b")" for pair in pairs)
    written = [escaped]
    if character in _SHORT:
        written.append(re.escape("\\" + _SHORT[character]).encode())
    if character not in {'"', "\\"}:
        written.append(re.escape(character.encode("utf-8", "surrogatepass")))
    return b"(?:" + b"|".join(reversed(written)) + b")"


def deleted_id(document: dict[str, Any], *, field: str | None, marker: DeleteMarker | None) -> str | None:
    """Return the id that a document deletes; None if it deletes none. ``field`` holds ids.

    Raises:
        ValueError: it is a deletion, and has no id.
    """
    if len(document) == 1 and DELETE in document:
        found = plain_id(document[DELETE])
        if found is None:
            raise ValueError('a line with the only member "$delete" deletes a document: its value is an id, a string')
        return found
    if marker is None or not marker.marks(document):
        return None
    found = None if field is None else plain_id(document.get(field))
    if found is None:
        named = "the External names no field of ids" if field is None else f"its field {field!r} holds none"
        raise ValueError(f"the document is a deletion, as its {marker.field!r} says, and has no id: {named}")
    return found
