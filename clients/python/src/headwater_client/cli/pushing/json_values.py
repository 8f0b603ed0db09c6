"""A file of JSON: an array of documents, or documents one after another, over as many lines as they like."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from headwater_client.cli.endings import Code, Refusal

#: Characters that are read at a time.
BLOCK = 1 << 20

#: Characters of a word or an escape that may be cut off where we have read to.
_WORD = 16
_SPACE = re.compile(r"[ \t\r\n]*")
_LINE_ENDS = str.maketrans("\r\n", "  ")


def documents(stream: BinaryIO, name: str, *, block: int = BLOCK) -> Iterator[tuple[int, bytes]]:
    """Iterate over documents as lines, each with the number of the line where it began.

    Within JSON, line ends are white space only, so that a blank for each keeps all else as it was.

    Raises:
        Refusal: it is no JSON.
    """
    text = _Text(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), name, block)
    is_array = text.took("[")
    if is_array and text.took("]"):
        return
    while text.next() or is_array:
        yield text.line, text.value().translate(_LINE_ENDS).encode() + b"\n"
        if is_array and not text.took(","):
            if not text.took("]"):
                raise text.wrong("expected ',' or ']'")
            is_array = False
            if text.next():
                raise text.wrong("expected nothing behind the array")


class _Text:
    """The part of a file that is being looked at."""

    def __init__(self, file: io.TextIOWrapper, name: str, block: int) -> None:
        self._file = file
        self._name = name
        self._block = block
        self._decode = json.JSONDecoder().raw_decode
        self._held = ""
        self._at = 0
        self._is_read = False
        #: The line where it is looked at.
        self.line = 1

    def next(self) -> str:
        """Return the next character that is no white space; none at the end."""
        while True:
            self._go(_SPACE.match(self._held, self._at).end())  # pyright: ignore[reportOptionalMemberAccess] - it matches
            if self._at < len(self._held) or not self._more():
                return self._held[self._at : self._at + 1]

    def took(self, letter: str) -> bool:
        """Go beyond the next character, if it is that one."""
        is_it = self.next() == letter
        self._at += is_it
        return is_it

    def value(self) -> str:
        """Return the text of the next value, and go beyond it."""
        self.next()
        while True:
            try:
                _, end = self._decode(self._held, self._at)
            except json.JSONDecodeError as error:
                if not self._may_go_on(error) or not self._more():
                    self._go(error.pos)
                    raise self.wrong(f"this is no JSON: {error.msg[:1].lower()}{error.msg[1:]}") from error
                continue
            except RecursionError as error:
                raise self.wrong("it is nested too deep") from error
            # A number that ends where we have read to may go on behind it.
            if end < len(self._held) or not self._more():
                text = self._held[self._at : end]
                self._go(end)
                return text

    def wrong(self, what: str) -> Refusal:
        """Return the error that tells what is wrong here."""
        return Refusal(f"{self._name}, line {self.line}: {what}", code=Code.REJECTED)

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Tell whether it may be that a value is only not read to its end."""
        return error.pos + _WORD > len(self._held) or error.msg.startswith("Unterminated string")

    def _go(self, to: int) -> None:
        self.line += self._held.count("\n", self._at, to)
        self._at = to

    def _more(self) -> bool:
        """Read as much as there is already, and at least a block, so that a long value is not looked at too often."""
        if self._is_read:
            return False
        self._held = self._held[self._at :]
        self._at = 0
        read = self._file.read(max(self._block, len(self._held)))
        self._held += read
        self._is_read = not read
        return bool(read)
