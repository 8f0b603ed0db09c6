"""The log of a task's attempt: a file that is only ever appended to, one line of JSON after another."""

import os
from collections.abc import Iterator
from pathlib import Path

#: Bytes that are read at a time.
BLOCK = 256 << 10


class LogFile:
    """One file. Several processes may append at once; a reader sees whole lines only."""

    def __init__(self, path: Path) -> None:
        """Use the file; it need not exist."""
        self._path = path

    def append(self, lines: bytes) -> None:
        """Append whole lines, together."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            view = memoryview(lines)
            while view:
                view = view[os.write(handle, view) :]
        finally:
            os.close(handle)

    def size(self) -> int:
        """Return its size in bytes; 0 if there is none."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def lines(self, place: int) -> Iterator[tuple[int, bytes]]:
        """Yield lines from a byte position on, each with the position behind it; a line without an end is left out."""
        try:
            file = self._path.open("rb", buffering=BLOCK)
        except FileNotFoundError:
            return
        with file:
            file.seek(place)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                place += len(line)
                yield place, line

    def tail(self, count: int) -> int:
        """Return the position at which the last ``count`` lines begin."""
        place = self.size()
        if not place:
            return 0
        with self._path.open("rb") as file:
            # The end of the last line is not the end of the line before the last ``count``.
            wanted = count + 1
            while place:
                start = max(place - BLOCK, 0)
                file.seek(start)
                block = file.read(place - start)
                found = block.count(b"\n")
                if found >= wanted:
                    return start + _nth_last(block, wanted) + 1
                wanted -= found
                place = start
        return 0


def _nth_last(block: bytes, number: int) -> int:
    place = len(block)
    for _ in range(number):
        place = block.rindex(b"\n", 0, place)
    return place
