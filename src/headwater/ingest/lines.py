"""Splits a body into blocks of whole lines.

A block has the layout of an Arrow string column: one buffer of bytes, and the offsets of the lines. So the lines of
a block are not copied unless they need normalizing: each must end in exactly one LF, and none may be blank.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from headwater.domain.errors import DocumentTooLarge, Flaw
from headwater.ingest.scanner.fitting import line_offsets, mended

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: Approximate size of a block in bytes.
BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Block:
    """Whole lines, each ended by one LF, none blank."""

    data: bytes
    #: Where each line begins in ``data``, and where the last one ends.
    offsets: npt.NDArray[np.int32]
    #: The number of each line in the body, from 1.
    numbers: npt.NDArray[np.int64]
    #: The offset of each line in the body, in bytes from 0.
    places: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.numbers)

    def lines(self, places: Sequence[int]) -> Iterator[bytes]:
        """Yield the lines with these indexes, without their LF."""
        offsets = self.offsets.tolist()
        return (self.data[offsets[place] : offsets[place + 1] - 1] for place in places)


class LineCutter:
    """Splits a body that arrives in pieces into blocks of whole lines."""

    def __init__(self, *, longest: int) -> None:
        """Reject lines of more than ``longest`` bytes."""
        self._longest = longest
        self._held: list[bytes] = []
        self._held_size = 0
        self._line = 1
        self._place = 0
        self._begun = False

    def feed(self, piece: bytes) -> Iterator[Block]:
        """Yield blocks with the lines that ``piece`` completes, once there are enough.

        Raises:
            DocumentTooLarge: a line is too long.
        """
        self._held.append(piece)
        self._held_size += len(piece)
        if self._held_size >= BLOCK:
            yield from self.flush()

    @property
    def held(self) -> int:
        """Buffered bytes."""
        return self._held_size

    def flush(self) -> Iterator[Block]:
        """Yield a block of the buffered whole lines, even if it is small.

        Raises:
            DocumentTooLarge: a line is too long.
        """
        # Only the last piece is split, so that the data of the block is copied once.
        last = self._held.pop() if self._held else b""
        end = _last_end(last)
        if not end:
            self._held.append(last)
            last, self._held = self._take(), []
            end = _last_end(last)
        if end:
            self._held.append(last if end == len(last) else cast("bytes", memoryview(last)[:end]))
            yield from self._cut(self._take())
        rest = last[end:]
        self._held, self._held_size = [rest], len(rest)
        size = len(rest) - rest.endswith(b"\r")  # the CR may be half of a CRLF
        if size > self._longest:
            raise self._too_large(size)

    def finish(self) -> Iterator[Block]:
        """Yield the remaining lines; the last one needs no line end.

        Raises:
            DocumentTooLarge: a line is too long.
        """
        data = self._take()
        self._held, self._held_size = [], 0
        if data:
            yield from self._cut(data)

    def _take(self) -> bytes:
        data = b"".join(self._held)
        # A body may arrive byte by byte: a part of the byte-order mark does not tell yet whether there is one.
        if not self._begun and (data.startswith(BYTE_ORDER_MARK) or not BYTE_ORDER_MARK.startswith(data)):
            self._begun = True
            if data.startswith(BYTE_ORDER_MARK):
                self._place = len(BYTE_ORDER_MARK)
                return data[len(BYTE_ORDER_MARK) :]
        return data

    def _cut(self, data: bytes) -> Iterator[Block]:
        block = self._plain(data)
        if block is None:
            block = self._normalized(data)
        if not len(block):
            return
        sizes = np.diff(block.offsets) - 1
        if sizes.max() > self._longest:
            first = int((sizes > self._longest).argmax())
            raise self._too_large(int(sizes[first]), line=int(block.numbers[first]), place=int(block.places[first]))
        yield block

    def _plain(self, data: bytes) -> Block | None:
        """Return the block if its lines can be used as they are, or None if any needs normalizing."""
        offsets = line_offsets(data)
        if offsets is None:
            return None
        count = len(offsets) - 1
        block = Block(
            data=data,
            offsets=offsets,
            numbers=np.arange(self._line, self._line + count),
            places=offsets[:-1].astype(np.int64) + self._place,
        )
        self._line += count
        self._place += len(data)
        return block

    def _normalized(self, data: bytes) -> Block:
        """Return the block with each line ended by one LF, and without blank lines."""
        found = mended(data)
        block = Block(
            data=found.data,
            offsets=found.offsets,
            numbers=found.numbers.astype(np.int64) + self._line,
            places=found.starts.astype(np.int64) + self._place,
        )
        self._line += found.lines
        self._place += len(data)
        return block

    def _too_large(self, size: int, *, line: int | None = None, place: int | None = None) -> DocumentTooLarge:
        line = self._line if line is None else line
        flaw = Flaw(
            detail=f"the document is {size} bytes long or more; the limit is {self._longest}",
            line=line,
            offset=self._place if place is None else place,
        )
        return DocumentTooLarge(
            f"line {line} is over the limit of {self._longest} bytes a document (setting max_document)", flaws=[flaw]
        )


def _last_end(data: bytes) -> int:
    """Return where the last whole line of ``data`` ends; 0 if there is none.

    A CR at the very end may be half of a CRLF, so it does not end a line yet.
    """
    return max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
