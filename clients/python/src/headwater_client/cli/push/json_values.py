"""Reads JSON files: an array of documents, or concatenated documents, formatted in any way."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from headwater_client.cli.errors import CliError, ExitCode

#: Size of reads in characters.
BLOCK = 1 << 20

#: Maximum characters of a literal or an escape that may be cut off at the end of the buffer.
_WORD = 16
_SPACE = re.compile(r"[ \t\r\n]*")
_LINE_ENDS = str.maketrans("\r\n", "  ")


def documents(stream: BinaryIO, name: str, *, block: int = BLOCK) -> Iterator[tuple[int, bytes]]:
    """Iterate over documents as lines, each with the number of the line where it started.

    Line breaks in JSON are only whitespace, so replacing them by spaces changes nothing else.

    Raises:
        CliError: it is not JSON.
    """
    text = _Text(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), name, block)
    is_array = text.took("[")
    if is_array and text.took("]"):
        return
    while text.next() or is_array:
        line, document = text.line, text.value()
        yield line, document.translate(_LINE_ENDS).encode() + b"\n"
        if is_array and not text.took(","):
            if not text.took("]"):
                raise text.wrong("expected ',' or ']'")
            is_array = False
            if text.next():
                raise text.wrong("expected nothing behind the array")


class _Text:
    """The buffered part of a file, and the position in it."""

    def __init__(self, file: io.TextIOWrapper, name: str, block: int) -> None:
        self._file = file
        self._name = name
        self._block = block
        # Only the end of a value matters. Numbers are not converted, which Python refuses for very many digits.
        self._decode = json.JSONDecoder(parse_int=len, parse_float=len).raw_decode
        self._held = ""
        self._at = 0
        self._is_read = False
        #: The current line.
        self.line = 1

    def next(self) -> str:
        """Return the next non-whitespace character; "" at the end."""
        while True:
            self._go(_SPACE.match(self._held, self._at).end())  # pyright: ignore[reportOptionalMemberAccess] - it matches
            if self._at < len(self._held) or not self._more():
                return self._held[self._at : self._at + 1]

    def took(self, letter: str) -> bool:
        """Skip the next character if it is ``letter``; return whether it was."""
        is_it = self.next() == letter
        self._at += is_it
        return is_it

    def value(self) -> str:
        """Return the text of the next value, and skip it."""
        self.next()
        while True:
            try:
                _, end = self._decode(self._held, self._at)
            except json.JSONDecodeError as error:
                if not self._may_go_on(error) or not self._more():
                    self._go(error.pos)
                    raise self.wrong(
                        f"this is not JSON: {error.msg[:1].lower()}{error.msg[1:].removesuffix(' at')}"
                    ) from error
                continue
            except RecursionError as error:
                raise self.wrong("it is nested too deep") from error
            # A number at the end of the buffer may continue.
            if end < len(self._held) or not self._more():
                text = self._held[self._at : end]
                self._go(end)
                return text

    def wrong(self, what: str) -> CliError:
        """Return an error for the current line."""
        return CliError(f"{self._name}, line {self.line}: {what}", code=ExitCode.REJECTED)

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Return whether the error may be due to an incompletely read value."""
        return error.pos + _WORD > len(self._held) or error.msg.startswith("Unterminated string")

    def _go(self, to: int) -> None:
        self.line += self._held.count("\n", self._at, to)
        self._at = to

    def _more(self) -> bool:
        """Double the buffer, or read a block, so that a long value is not parsed too often."""
        if self._is_read:
            return False
        self._held = self._held[self._at :]
        self._at = 0
        read = self._file.read(max(self._block, len(self._held)))
        self._held += read
        self._is_read = not read
        return bool(read)
