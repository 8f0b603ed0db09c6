"""Purging what streams showed longer ago than the retention, and deleting the files that nothing names any more."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from headwater.catalog import events, garbage, inlined, objects, rejects, segments, streams
from headwater.catalog.database import Database
from headwater.catalog.garbage import READERS_LEAVE
from headwater.catalog.objects import STREAMS
from headwater.catalog.transaction import Transaction
from headwater.domain.stream import is_inlined
from headwater.lake.store import LocalStore
from headwater.streams.rounds import Rounds

log = structlog.get_logger(__name__)

#: Files that are deleted at a time.
MANY = 500
#: Events that are forgotten at a time.
MANY_EVENTS = 10_000
#: Seconds between two looks.
REST = 60.0


@dataclass(frozen=True, kw_only=True)
class Purged:
    """What a purge took away for good."""

    #: Streams of which former versions are no longer kept.
    streams: int = 0
    #: Document versions.
    docs: int = 0
    #: Files; readers who began before may have them for a while.
    files: int = 0


class Retention:
    """Purges, once a minute; any number of processes may do so."""

    def __init__(
        self,
        db: Database,
        store: LocalStore,
        *,
        keep: timedelta,
        keep_events: timedelta | None = None,
        clock: Callable[[], datetime],
    ) -> None:
        """Keep what was removed for ``keep``, and events for ``keep_events``; None is for ever."""
        self._db = db
        self._store = store
        self._keep = keep
        self._keep_events = keep_events
        self._clock = clock

    async def run(self) -> None:
        """Work until cancelled."""
        await Rounds(name="retention", turn=self.turn, rest=REST, patience=REST).run(self._db)

    async def turn(self) -> int:
        """Purge what is old, delete files that are due; there is no more then, which is 0."""
        at = self._clock()
        await self.purge(before=at - self._keep, at=at, leave=READERS_LEAVE)
        await self.delete_garbage(at=at)
        if self._keep_events is not None:
            await self.forget_events(before=at - self._keep_events)
        return 0

    async def purge(self, *, before: datetime, at: datetime, leave: timedelta) -> Purged:
        """Forget for good what no stream has shown since a moment, and leave the files to readers for a while."""
        total = await self._db.write(_purge_waiting, before=before, until=at + leave)
        for stream, version in await self._db.read(streams.to_purge, before=before):
            purged = await self._db.write(_purge_stream, stream, version, until=at + leave)
            if purged.docs:
                log.info("stream.purged", stream=stream, before_version=version, docs=purged.docs, files=purged.files)
            total = _sum(total, purged)
        return total

    async def delete_garbage(self, *, at: datetime) -> int:
        """Delete the files that are due; return how many there were."""
        deleted = 0
        while paths := await self._db.read(garbage.due, at=at, limit=MANY):
            gone = await asyncio.to_thread(self._delete, paths)
            # Forgotten only now: a crash in between deletes them once more, which is fine.
            await self._db.write(_settle, gone, sorted(set(paths) - set(gone)), at=at)
            deleted += len(gone)
        if deleted:
            log.info("garbage.deleted", files=deleted)
        return deleted

    async def forget_events(self, *, before: datetime) -> int:
        """Forget the events from before a moment; return how many there were."""
        until = await self._db.read(events.place_at, before)
        forgotten = 0
        while gone := await self._db.write(events.forget, until=until, limit=MANY_EVENTS):
            forgotten += gone
        if forgotten:
            log.info("events.forgotten", events=forgotten, before=before)
        return forgotten

    def _delete(self, paths: list[str]) -> list[str]:
        """Delete files; return those that are gone."""
        gone: list[str] = []
        for path in paths:
            try:
                if not is_inlined(path):
                    self._store.delete(path)
            except OSError:
                log.exception("garbage.not_deleted", path=path)
            else:
                gone.append(path)
        return gone


def _settle(tx: Transaction, gone: list[str], left: list[str], *, at: datetime) -> None:
    garbage.deleted(tx, gone)
    inlined.forget(tx, [path for path in gone if is_inlined(path)])
    garbage.put_off(tx, left, until=at + READERS_LEAVE)


def _purge_stream(tx: Transaction, stream: str, version: int, *, until: datetime) -> Purged:
    # Locked first: who restores a task at this moment must see what is gone, and we what it puts back.
    objects.get(tx, STREAMS, stream, lock=True)
    docs, files = segments.purge(tx, segments.removed_by(stream, version))
    streams.purged(tx, stream, version=version)
    garbage.leave(tx, files, until=until)
    tx.note(about=("streams", stream), stream_version=version, docs=docs)
    return Purged(streams=1, docs=docs, files=len(files))


def _purge_waiting(tx: Transaction, *, before: datetime, until: datetime) -> Purged:
    """Forget documents that waited for the success of an attempt that had none, and rejected lines of what is gone."""
    rejects.purge(tx, before=before)
    docs, files = segments.purge(tx, segments.never_to_show(before))
    garbage.leave(tx, files, until=until)
    tx.note(docs=docs)
    return Purged(docs=docs, files=len(files))


def _sum(one: Purged, other: Purged) -> Purged:
    return Purged(streams=one.streams + other.streams, docs=one.docs + other.docs, files=one.files + other.files)
