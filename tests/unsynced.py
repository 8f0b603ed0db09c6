"""Tests do not wait for the disk: they ask what was written, not what a power cut leaves."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Pool, event

_FSYNC = os.fsync


class _Disk:
    """Whether files, and the SQLite catalogs of this process, are flushed to the disk."""

    is_flushed = False

    def fsync(self, handle: int) -> None:
        if self.is_flushed:
            _FSYNC(handle)

    def prepare(self, connection: Any, _record: Any, _proxy: Any) -> None:
        if not self.is_flushed and isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")


_DISK = _Disk()


def install() -> None:
    """Flush nothing in this process from now on."""
    os.fsync = _DISK.fsync
    event.listen(Pool, "checkout", _DISK.prepare)


@contextlib.contextmanager
def synced() -> Iterator[None]:
    """Flush as a server does."""
    _DISK.is_flushed = True
    try:
        yield
    finally:
        _DISK.is_flushed = False
