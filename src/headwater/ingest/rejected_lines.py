"""The rejected lines of a lenient upload, buffered until the upload is recorded: first in memory, then in a file."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import SpooledTemporaryFile

import msgspec

from headwater.domain.reject import MOST_OF_LINE, MOST_REJECTS, RejectedLine
from headwater.ingest.validation import LineErrors

#: Bytes that are buffered in memory.
_IN_MEMORY = 256 << 10
_LENGTH = struct.Struct(">I")


class RejectedLines(LineErrors):
    """The rejected lines of one upload: stored up to the limit per task, and all of them counted."""

    def __init__(self, folder: Path) -> None:
        """Spill to an unnamed file in ``folder``, which does not survive a crash."""
        super().__init__()
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(folder))  # noqa: SIM115 - closed by close()
        self._size = 0
        self._kept = 0

    @property
    def listing(self) -> bool:
        """Whether another line would be stored."""
        return self._kept < MOST_REJECTS

    @property
    def thorough(self) -> bool:
        """Whether all errors of another line are wanted: only of those that the response lists."""
        return super().listing

    @property
    def held(self) -> int:
        """Bytes of memory that they take."""
        return self._size if self._size <= _IN_MEMORY else 0

    def record(self, line: RejectedLine) -> None:
        """Store a line."""
        super().record(line)
        packed = msgspec.msgpack.encode(replace(line, flaws=line.flaws[:MOST_OF_LINE]))
        self._file.write(_LENGTH.pack(len(packed)) + packed)
        self._size += _LENGTH.size + len(packed)
        self._kept += 1

    def each(self) -> Iterator[RejectedLine]:
        """Yield the stored lines in order."""
        decode = msgspec.msgpack.Decoder(RejectedLine).decode
        self._file.seek(0)
        for _ in range(self._kept):
            (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
            yield decode(self._file.read(length))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
