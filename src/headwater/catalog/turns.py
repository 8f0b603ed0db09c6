"""Processes that write to one SQLite take turns.

SQLite lets who finds it locked sleep and look again, for up to 100 ms at a time: beside a process that
always has something to write, another finds it locked for seconds. Who waits here is woken at once.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


class Turns:
    """The queue of those who want to write to a database file, as locks on two files beside it.

    A process that dies loses its locks. SQLite's own lock still guards the file: against those who do
    not ask for a turn, and where the files cannot be locked.
    """

    def __init__(self, database: Path) -> None:
        self._next, self._turn = (_opened(database.with_name(f"{database.name}-{name}")) for name in ("next", "turn"))

    @contextmanager
    def turn(self) -> Generator[None]:
        """Wait for a turn and have it; one thread at a time."""
        # Two locks: who has just had a turn and wants another one is behind whoever waits already.
        _lock(self._next, fcntl.LOCK_EX)
        _lock(self._turn, fcntl.LOCK_EX)
        _lock(self._next, fcntl.LOCK_UN)
        try:
            yield
        finally:
            _lock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Take no more turns."""
        for handle in (self._next, self._turn):
            if handle is not None:
                os.close(handle)


def _opened(file: Path) -> int | None:
    try:
        return os.open(file, os.O_RDONLY | os.O_CREAT, 0o644)  # readable is enough: root may have made it
    except OSError as error:
        log.warning("catalog.no_turns", file=str(file), why=error.strerror)
        return None


def _lock(handle: int | None, how: int) -> None:
    if handle is not None:
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(handle, how)
