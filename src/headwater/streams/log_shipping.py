"""Moves the lines of logs from the catalog to the object store, once they are enough for an object."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from headwater.catalog import log_chunks
from headwater.catalog.core.database import Database
from headwater.catalog.log_chunks import WaitingLog
from headwater.domain.errors import MovedMeanwhile
from headwater.domain.ids import new_fid
from headwater.lake.store import Store

log = structlog.get_logger(__name__)

#: Bytes of a log in the catalog from which on they are moved at once.
ENOUGH = 256 << 10
#: Bytes of an object.
MOST = 1 << 20
#: How long a log is silent until it is moved however short it is,
QUIET = timedelta(minutes=10)
#: and up to how many bytes of it stay in the catalog then.
LEAST = 16 << 10
#: Logs that are looked at together.
MANY = 100
#: Seconds between two turns.
EVERY = 10.0


class LogShipping:
    """Moves lines; any number of processes may do so."""

    def __init__(self, db: Database, store: Store, *, clock: Callable[[], datetime]) -> None:
        """Move what the catalog has to ``store``."""
        self._db = db
        self._store = store
        self._clock = clock

    async def turn(self) -> int:
        """Move what waits; return how many objects were made."""
        moved = 0
        quiet_since = self._clock() - QUIET
        while waiting := await self._db.read(log_chunks.waiting, enough=ENOUGH, quiet_since=quiet_since, limit=MANY):
            for one in waiting:
                if one.size <= LEAST:
                    await self._db.write(log_chunks.settle, one)
                    continue
                try:
                    await self._move(one)
                except MovedMeanwhile:
                    continue  # what was put is given up by the sweep
                moved += 1
        return moved

    async def _move(self, one: WaitingLog) -> None:
        rows = await self._db.read(log_chunks.rows_of, one, most_bytes=MOST)
        if not rows:
            return
        at = self._clock()
        fid = new_fid(at)
        path = f"logs/task={one.task}/{one.attempt}/{fid}.ndjson"
        await asyncio.to_thread(self._put, b"".join(row.lines or b"" for row in rows), fid, path)
        await self._db.write(log_chunks.move, one, rows, path, at=at)

    def _put(self, lines: bytes, fid: str, path: str) -> None:
        staged = self._store.stage(f"{fid}.ndjson")
        staged.write_bytes(lines)
        self._store.keep(staged, path)
