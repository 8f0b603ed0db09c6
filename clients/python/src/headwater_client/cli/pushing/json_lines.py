"""Lines of JSON, handed on as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

_MARK = b"\xef\xbb\xbf"
#: What a blank line may hold; such a line is no document.
_BLANKS = b" \t\r\n"


def documents(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Iterate over lines that are not blank, each with its number.

    LF, CRLF and a bare CR end a line, as they do at the server.
    """
    number = 0
    for read in stream:
        number += 1
        line = read
        if number == 1 and line.startswith(_MARK):
            line = line[len(_MARK) :]
        if b"\r" in line:
            parts = line.splitlines()
            for place, part in enumerate(parts):
                if part.strip(_BLANKS):
                    yield number + place, part + b"\n"
            number += max(len(parts) - 1, 0)
        elif line[:1] not in _BLANKS or line.strip(_BLANKS):
            yield number, line if line.endswith(b"\n") else line + b"\n"
