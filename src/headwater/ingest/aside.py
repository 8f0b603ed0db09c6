"""What a lenient upload rejects, kept aside until the upload is recorded: a little in memory, the rest in a file."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import SpooledTemporaryFile

import msgspec

from headwater.domain.reject import MOST_OF_LINE, MOST_REJECTS, RejectedLine
from headwater.ingest.validation import Faults

#: So many bytes are held in memory.
_IN_MEMORY = 256 << 10
_LENGTH = struct.Struct(">I")


class Aside(Faults):
    """The rejected lines of one upload: as many as a task may keep, and all of them counted."""

    def __init__(self, folder: Path) -> None:
        """Keep what is too much for memory in a file in ``folder``, which nobody sees and no crash leaves."""
        super().__init__()
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(folder))  # noqa: SIM115 - it lives as long as we
        self._size = 0
        self._kept = 0

    @property
    def listing(self) -> bool:
        """Whether another line is wanted."""
        return self._kept < MOST_REJECTS

    @property
    def thorough(self) -> bool:
        """Whether all that is wrong with another line is wanted: of those alone that the answer tells of."""
        return super().listing

    @property
    def held(self) -> int:
        """Bytes of memory that they take."""
        return self._size if self._size <= _IN_MEMORY else 0

    def tell(self, line: RejectedLine) -> None:
        """Keep a line."""
        super().tell(line)
        packed = msgspec.msgpack.encode(replace(line, flaws=line.flaws[:MOST_OF_LINE]))
        self._file.write(_LENGTH.pack(len(packed)) + packed)
        self._size += _LENGTH.size + len(packed)
        self._kept += 1

    def each(self) -> Iterator[RejectedLine]:
        """Yield the lines that are kept, from the first one on."""
        decode = msgspec.msgpack.Decoder(RejectedLine).decode
        self._file.seek(0)
        for _ in range(self._kept):
            (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
            yield decode(self._file.read(length))

    def close(self) -> None:
        """Let go of them."""
        self._file.close()
