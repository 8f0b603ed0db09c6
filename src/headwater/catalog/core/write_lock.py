"""A fair lock between processes that write to one SQLite.

SQLite's busy handler sleeps and polls, for up to 100 ms at a time: beside a process that always has
something to write, another process waits for seconds. A waiter on this lock is woken at once.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


class WriteLock:
    """A lock for writers of a database file: locks on two files beside it.

    A process that dies releases its locks. SQLite's own lock still protects the file: against processes that
    do not use this one, and on file systems without locks.
    """

    def __init__(self, database: Path) -> None:
        self._next, self._turn = (_opened(database.with_name(f"{database.name}-{name}")) for name in ("next", "turn"))

    @contextmanager
    def hold(self) -> Generator[None]:
        """Wait for the lock and hold it; one thread at a time."""
        # Two locks: a process that releases the lock and wants it again queues behind those already waiting.
        _lock(self._next, fcntl.LOCK_EX)
        _lock(self._turn, fcntl.LOCK_EX)
        _lock(self._next, fcntl.LOCK_UN)
        try:
            yield
        finally:
            _lock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock files."""
        for handle in (self._next, self._turn):
            if handle is not None:
                os.close(handle)


def _opened(file: Path) -> int | None:
    try:
        return os.open(file, os.O_RDONLY | os.O_CREAT, 0o600)
    except OSError as error:
        log.warning("catalog.no_turns", file=str(file), why=error.strerror)
        return None


def _lock(handle: int | None, how: int) -> None:
    if handle is not None:
        with suppress(OSError):  # not every file system supports locks
            fcntl.flock(handle, how)
