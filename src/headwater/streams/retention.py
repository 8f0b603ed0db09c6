"""Retention: purges old stream versions and deletes the files that no row names any more."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from headwater.catalog import (
    audit,
    event_order,
    events,
    expiry,
    garbage,
    inlined_segments,
    objects,
    rejects,
    segments,
    settled,
    streams,
    task_logs,
)
from headwater.catalog.audit import Actor, acting_as
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.garbage import READERS_LEAVE
from headwater.catalog.objects import STREAMS
from headwater.domain.stream import is_inlined
from headwater.domain.task import Origin
from headwater.lake.store import Store
from headwater.streams.background_loop import BackgroundLoop

log = structlog.get_logger(__name__)

#: Files that are deleted at a time.
MANY = 500
#: Events, and other records, that are deleted at a time.
MANY_EVENTS = 10_000
MANY_RECORDS = 1_000
#: Tasks whose receipts are deleted at a time: each may have thousands.
MANY_TASKS = 50
#: Seconds between two purges.
REST = 60.0


@dataclass(frozen=True, kw_only=True)
class Purged:
    """The result of a purge."""

    #: Streams with purged versions.
    streams: int = 0
    #: Document versions.
    docs: int = 0
    #: Files; readers that started before may use them for a while.
    files: int = 0


@dataclass(frozen=True, kw_only=True)
class Kept:
    """For how long the catalog keeps records of what is over."""

    events: timedelta
    receipts: timedelta
    attempts: timedelta
    audit: timedelta


class Retention:
    """Purges once a minute; any number of processes may do so."""

    def __init__(
        self,
        db: Database,
        store: Store,
        *,
        keep: timedelta,
        kept: Kept | None = None,
        clock: Callable[[], datetime],
        believed: Callable[[], Awaitable[datetime]] | None = None,
    ) -> None:
        """Keep removed documents for ``keep``, and records as ``kept`` says; None is forever.

        ``believed`` returns the time to purge by, if ``clock`` is not trusted.
        """
        self._believed = believed
        self._db = db
        self._store = store
        self._keep = keep
        self._kept = kept
        #: The version up to which the log of each stream is merged.
        self._merged: dict[str, int] = {}
        #: The end up to which no task has a stored answer to an upload.
        self._receipts_after: datetime | None = None
        self._clock = clock

    async def run(self) -> None:
        """Run until cancelled."""
        await BackgroundLoop(name="retention", turn=self.turn, rest=REST, poll_interval=REST).run(self._db)

    async def turn(self) -> int:
        """Purge what is old and delete due files; returns 0, since nothing is left after it."""
        at = self._clock() if self._believed is None else await self._believed()
        await self.purge(before=at - self._keep, at=at, leave=READERS_LEAVE)
        await self.settle(at=at, leave=READERS_LEAVE)
        await self.delete_garbage(at=at)
        await self.merge_logs()
        if self._kept is not None:
            await self.forget_events(before=at - self._kept.events)
            await self.forget_receipts(before=at - self._kept.receipts)
            await self._expire(expiry.attempts, before=at - self._kept.attempts, limit=MANY_RECORDS)
            await self.forget_audit(before=at - self._kept.audit)
        return 0

    async def merge_logs(self) -> int:
        """Merge the log lines of uploads that no readable version needs; return how many are gone."""
        gone = 0
        for stream, version in (await self._db.read(streams.purged_versions)).items():
            while self._merged.get(stream, 0) < version:
                after = self._merged.get(stream, 0)
                merged = await self._db.write(expiry.uploads_in_log, stream, until=version, after=after)
                gone += merged.lines
                self._merged[stream] = version if merged.after is None else merged.after
        return gone

    async def forget_receipts(self, *, before: datetime) -> None:
        """Delete the stored answers to uploads of tasks that ended before a time."""
        await self._expire(expiry.receipts, before=before, after=self._receipts_after, limit=MANY_TASKS)
        # A task that ends later than now has a later end: what was looked through stays without receipts.
        self._receipts_after = before

    async def _expire(self, delete: Callable[..., int], *, before: datetime, **how: Any) -> None:
        deleted = 0
        while some := await self._db.write(delete, before=before, **how):
            deleted += some
        if deleted:
            log.info("records.deleted", kind=delete.__name__, records=deleted, before=before)

    async def purge(self, *, before: datetime, at: datetime, leave: timedelta) -> Purged:
        """Purge what no stream has shown since a time; files are kept for readers for ``leave``."""
        total = await self._db.write(_purge_waiting, before=before, until=at + leave)
        for stream, version in await self._db.read(streams.to_purge, before=before):
            purged = await self._db.write(_purge_stream, stream, version, until=at + leave)
            if purged.docs:
                log.info("stream.purged", stream=stream, before_version=version, docs=purged.docs, files=purged.files)
            total = _sum(total, purged)
        return total

    async def settle(self, *, at: datetime, leave: timedelta) -> None:
        """Settle the runs that are older than their stream's ``undo_days``, and purge what it showed before."""
        for stream, until, version in await self._db.read(settled.due, at=at):
            await self._db.write(settled.settle, stream, until=until)
            if version is not None:
                await self._db.write(_purge_stream, stream, version, until=at + leave)

    async def delete_garbage(self, *, at: datetime) -> int:
        """Delete due files; return how many there were."""
        deleted = 0
        while paths := await self._db.read(garbage.due, at=at, limit=MANY):
            gone = await asyncio.to_thread(self._delete, paths)
            # Removed from the list only now: after a crash in between they are deleted once more, which is harmless.
            await self._db.write(_settle, gone, sorted(set(paths) - set(gone)), at=at)
            deleted += len(gone)
        if deleted:
            log.info("garbage.deleted", files=deleted)
        return deleted

    async def forget_events(self, *, before: datetime) -> int:
        """Delete the events from before a time; return how many there were."""
        await event_order.catch_up(self._db)
        until = await self._db.read(events.place_at, before)
        forgotten = 0
        while gone := await self._db.write(events.forget, until=until, limit=MANY_EVENTS):
            forgotten += gone
        if forgotten:
            log.info("events.forgotten", events=forgotten, before=before)
        return forgotten

    async def forget_audit(self, *, before: datetime) -> int:
        """Delete the entries of the audit from before the day of a time; return how many there were."""
        with acting_as(Actor(clock=self._clock, name="retention", origin=Origin.SCHEDULE, action="purge_audit")):
            if not await self._db.write(audit.keep_since, before):
                return 0
        forgotten = 0
        while gone := await self._db.write(audit.forget, limit=MANY_RECORDS):
            forgotten += gone
        log.info("audit.forgotten", entries=forgotten, before=before.date())
        return forgotten

    def _delete(self, paths: list[str]) -> list[str]:
        """Delete files; return those that are gone."""
        inlined = [path for path in paths if is_inlined(path)]
        return inlined + self._store.delete_all([path for path in paths if not is_inlined(path)])


def _settle(tx: Transaction, gone: list[str], left: list[str], *, at: datetime) -> None:
    garbage.deleted(tx, gone)
    inlined_segments.forget(tx, [path for path in gone if is_inlined(path)])
    garbage.put_off(tx, left, until=at + READERS_LEAVE)


def _purge_stream(tx: Transaction, stream: str, version: int, *, until: datetime) -> Purged:
    # Locked first: a concurrent restore must see what is purged, and this transaction what it restores.
    objects.get(tx, STREAMS, stream, lock=True)
    docs, files = segments.purge(tx, segments.removed_by(stream, version))
    streams.purged(tx, stream, version=version)
    garbage.leave(tx, files, until=until)
    tx.annotate(about=("streams", stream), stream_version=version, docs=docs)
    return Purged(streams=1, docs=docs, files=len(files))


def _purge_waiting(tx: Transaction, *, before: datetime, until: datetime) -> Purged:
    """Purge unpublished documents of failed attempts, and rejected lines and logs of deleted tasks."""
    rejects.purge(tx, before=before)
    garbage.leave(tx, task_logs.remove(tx, before=before), until=until)
    docs, files = segments.purge(tx, segments.never_to_show(before))
    garbage.leave(tx, files, until=until)
    tx.annotate(docs=docs)
    return Purged(docs=docs, files=len(files))


def _sum(one: Purged, other: Purged) -> Purged:
    return Purged(streams=one.streams + other.streams, docs=one.docs + other.docs, files=one.files + other.files)
