"""Records damaged segments in the catalog, for metrics and readiness."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from headwater.catalog import segments
from headwater.catalog.core.database import Database
from headwater.domain.segment_table import SegmentFile

log = structlog.get_logger(__name__)

#: A damaged segment is logged again after this time.
AGAIN = timedelta(hours=1)


class DamageReports:
    """Receives reports from the threads that read segments."""

    def __init__(self, db: Database, *, clock: Callable[[], datetime]) -> None:
        """Record in ``db``, from the running event loop."""
        self._db = db
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._reported: dict[str, datetime] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def found(self, segment: SegmentFile, fault: str) -> None:
        """Record that a segment is damaged; called in any thread, repeatedly."""
        at = self._clock()
        if at - self._reported.get(segment.path, datetime.min.replace(tzinfo=at.tzinfo)) < AGAIN:
            return
        self._reported[segment.path] = at
        log.error(
            "segment.damaged",
            segment=segment.fid,
            task=segment.task,
            stream=segment.stream,
            path=segment.path,
            fault=fault,
        )
        self._record(segment.path, at)

    def repaired(self, segment: SegmentFile) -> None:
        """Record that a damaged segment is intact again; called in any thread."""
        self._reported.pop(segment.path, None)
        log.info("segment.repaired", segment=segment.fid, task=segment.task, path=segment.path)
        self._record(segment.path, None)

    async def settled(self) -> None:
        """Wait until all reports are recorded."""
        await asyncio.sleep(0)
        while self._writing:
            await asyncio.wait(list(self._writing))

    def _record(self, path: str, at: datetime | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._begin, path, at)

    def _begin(self, path: str, at: datetime | None) -> None:
        writing = self._loop.create_task(self._write(path, at))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def _write(self, path: str, at: datetime | None) -> None:
        try:
            await self._db.write(segments.mark_damaged, path, at)
        except Exception:
            log.exception("segment.damage_not_recorded", path=path)
