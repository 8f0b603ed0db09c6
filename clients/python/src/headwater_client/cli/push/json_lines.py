"""Reads NDJSON files; lines are passed on unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.push import hints

_MARK = b"\xef\xbb\xbf"
#: Characters of blank lines, which are skipped.
_BLANKS = b" \t\r\n"


def documents(stream: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """Iterate over non-blank lines, each with its number.

    LF, CRLF and a bare CR end a line, as in the server.

    Raises:
        CliError: the first line shows that the file is multi-line JSON.
    """
    is_first = True
    for number, line in _lines(stream):
        if is_first:
            is_first = False
            fault = hints.of_first_line(line)
            if fault:
                raise CliError(f"{name}, line {number}: {fault}", code=ExitCode.REJECTED)
        yield number, line


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
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
