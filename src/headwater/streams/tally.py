"""Counting what streams show, some time after they changed."""

import asyncio
import contextlib
import time

import structlog

from headwater.catalog import segments, streams
from headwater.catalog.database import Database
from headwater.domain.stream import Stream, Visibility
from headwater.lake.engine import Engine

log = structlog.get_logger(__name__)

#: Streams that are counted in one turn.
MANY = 20
#: Seconds between two turns, at least.
REST = 0.5
#: Seconds until another look when nobody says that a stream changed (another process may have changed one).
PATIENCE = 5.0
#: Counting may take this part of a core's time, so that a large busy stream does not keep it for itself.
SHARE = 0.2


class Tally:
    """Keeps the number of each stream's documents."""

    def __init__(self, db: Database, engine: Engine) -> None:
        """Count with ``engine``."""
        self._db = db
        self._engine = engine
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        self._db.on(streams.CHANGED, lambda: loop.call_soon_threadsafe(self._changed.set))
        while True:
            self._changed.clear()
            began = time.monotonic()
            try:
                counted = await self.turn()
            except Exception:
                # Files or database may be away for a while, and the loop must outlive it.
                log.exception("tally.turn_failed")
                counted = 0
            await asyncio.sleep(max(REST, (time.monotonic() - began) * (1 / SHARE - 1)))
            if counted < MANY:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE):
                        await self._changed.wait()

    async def turn(self) -> int:
        """Count streams that have changed since they were counted; return how many there were."""
        changed = await self._db.read(streams.uncounted, limit=MANY)
        for stream in changed:
            await self._count(stream)
        return len(changed)

    async def _count(self, stream: Stream) -> None:
        version = stream.stream_version
        found = await self._db.read(segments.visible, stream.fid, Visibility(version=version))
        docs = await self._engine.ask(self._engine.count, found)
        await self._db.write(streams.counted, stream.fid, docs=docs, version=version)
