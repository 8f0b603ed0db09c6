"""The log of an attempt where the lake is an object store: read from rows of the catalog, and from objects.

It is used like ``lake/log_file.py``, in threads.
"""

from collections.abc import Iterator

from headwater.catalog import log_chunks
from headwater.catalog.core.database import Database
from headwater.catalog.log_chunks import LogChunk
from headwater.catalog.task_logs import TaskLog
from headwater.lake.store import Store


class ChunkedLog:
    """One log; each chunk of it holds whole lines."""

    def __init__(self, db: Database, store: Store, log: TaskLog) -> None:
        """Read the log of an attempt."""
        self._db = db
        self._store = store
        self._log = (log.task, log.attempt)

    def size(self) -> int:
        """Return its size in bytes; 0 if there is none."""
        return self._db.read_blocking(log_chunks.size, *self._log)

    def lines(self, place: int) -> Iterator[tuple[int, bytes]]:
        """Yield lines from a byte position on, each with the position behind it."""
        while (chunk := self._db.read_blocking(log_chunks.at, *self._log, place)) is not None:
            place = max(place, chunk.start)
            for line in self._content(chunk)[place - chunk.start :].splitlines(keepends=True):
                place += len(line)
                yield place, line
            place = chunk.start + chunk.size

    def tail(self, count: int) -> int:
        """Return the position at which the last ``count`` lines begin."""
        place = self.size()
        while count and (chunk := self._db.read_blocking(log_chunks.before, *self._log, place)) is not None:
            lines = self._content(chunk).splitlines(keepends=True)
            if len(lines) >= count:
                return chunk.start + chunk.size - sum(len(line) for line in lines[len(lines) - count :])
            count -= len(lines)
            place = chunk.start
        return place

    def _content(self, chunk: LogChunk) -> bytes:
        """Return the lines of a chunk; nothing if its object is lost: a restored backup has none of the logs."""
        if chunk.lines is not None or chunk.path is None:
            return chunk.lines or b""
        try:
            return b"".join(bytes(block) for block in self._store.blocks(chunk.path))
        except FileNotFoundError:
            return b""
