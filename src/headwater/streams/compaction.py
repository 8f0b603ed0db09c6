"""Compaction: merges the segments of a task into one in id order, so that reads open few files and few row groups."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import structlog

from headwater.catalog import garbage, intended_files, objects, segments, tasks
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.garbage import READERS_LEAVE
from headwater.catalog.objects import STREAMS, TASKS
from headwater.domain.errors import MovedMeanwhile, SegmentDamaged
from headwater.domain.ids import new_fid
from headwater.domain.stream import Segment, WrittenSegment, is_inlined, segment_path
from headwater.lake.disk import Disk
from headwater.lake.engine import Engine
from headwater.lake.merge import concatenate, merge
from headwater.lake.segment import LEAST_ROW_GROUP_BYTES
from headwater.lake.segment_format import Origin
from headwater.lake.store import Store
from headwater.streams.background_loop import BackgroundLoop
from headwater.streams.backoff import Backoff

log = structlog.get_logger(__name__)

#: Maximum number of files of an open task,
MOST_OF_OPEN = 64
#: and of its inlined segments, which are in memory for readers.
MOST_INLINED = 256
#: Of a task over these limits, so many of the newest segments are merged whatever their sizes.
NEWEST = 32
#: How long the catalog keeps merged inlined segments: readers have fetched them by then, and they take space.
READERS_FETCH = timedelta(minutes=10)
#: Maximum number of segments that are merged at a time.
MOST_MERGED = 2_000
#: Attempts that are processed in one turn.
MANY = 100
#: Segments of a small attempt that has ended, up to which they are left as they are until they are folded.
MOST_LEFT = 4


class Compaction:
    """Merges segments; any number of processes may do so concurrently."""

    def __init__(
        self,
        db: Database,
        engine: Engine,
        store: Store,
        *,
        clock: Callable[[], datetime],
        disk: Disk | None = None,
        leaves_small: bool = True,
    ) -> None:
        """Merge with ``engine`` into ``store``, while the ``disk`` has free space.

        With ``leaves_small``, the few and small segments of an attempt are left to folding.
        """
        self._leaves_small = leaves_small
        self._disk = disk
        self._db = db
        self._engine = engine
        self._store = store
        self._clock = clock
        #: Tasks whose segments could not be merged.
        self._failed = Backoff(lambda: clock().timestamp())

    async def run(self) -> None:
        """Run until cancelled, half of the time at most."""
        await BackgroundLoop(name="compaction", turn=self.turn, rest=0.5, poll_interval=10.0, share=0.5).run(self._db)

    async def turn(self) -> int:
        """Merge the segments of some tasks; return of how many."""
        if self._disk is not None and not self._disk.has_room:
            return 0  # merged files are kept for their readers for a while, so that both take space
        ended = await self._db.read(segments.to_compact, but=self._failed.waiting(), limit=MANY)
        crowded = await self._crowded(more_than=MOST_OF_OPEN, inlined=False)
        heaped = await self._crowded(more_than=MOST_INLINED, inlined=True)
        done = 0
        for work, attempts in ((self._compact, ended), (self._flush, heaped), (self._thin_out, crowded)):
            for task, attempt in attempts:
                try:
                    await work(await self._db.read(segments.in_place, task, attempt))
                except SegmentDamaged as error:
                    # Damaged segments are never rewritten, and the others must not wait for them.
                    again = self._failed.failed(task)
                    log.error("segments.not_merged", task=task, attempt=attempt, fault=error.detail, retry_in=again)  # noqa: TRY400 - it is known where it comes from
                except Exception:
                    again = self._failed.failed(task)
                    log.exception("segments.not_merged", task=task, attempt=attempt, retry_in=again)
                else:
                    self._failed.succeeded(task)
                    done += 1
        return done

    async def _crowded(self, *, more_than: int, inlined: bool) -> list[tuple[str, int]]:
        return await self._db.read(
            segments.crowded, but=self._failed.waiting(), more_than=more_than, inlined=inlined, limit=MANY
        )

    async def _compact(self, found: Sequence[Segment]) -> None:
        """Merge the segments of an attempt that has ended, unless they are so few and small that folding does."""
        new = [segment for segment in found if not segment.is_compact]
        is_small = sum(segment.bytes for segment in new) <= LEAST_ROW_GROUP_BYTES
        is_file = len(new) == 1 and not new[0].is_inlined
        if is_small and (is_file or (self._leaves_small and len(new) <= MOST_LEFT)):
            await self._db.write(segments.settle, new)  # a reader reads all of it anyway
        elif new:
            some = new[:MOST_MERGED]
            await self.merge(some, is_last=len(some) == len(new))

    async def _thin_out(self, found: Sequence[Segment]) -> None:
        """Merge the newest segments of an open attempt."""
        some = worth_merging(found)
        if len(some) > 1:
            await self._replace(some, concatenate, is_last=False)

    async def _flush(self, found: Sequence[Segment]) -> None:
        """Write inlined segments of an open attempt to a file."""
        for is_run, run in groupby(found, lambda segment: segment.is_inlined):
            if is_run:
                await self._replace(list(run), concatenate, is_last=False)

    async def merge(self, old: Sequence[Segment], *, is_last: bool) -> None:
        """Replace segments of one attempt, given in order of arrival, by a merged one.

        ``is_last`` means that nothing of the attempt is left to merge after this.
        """
        await self._replace(old, merge, is_last=is_last)

    async def _replace(self, old: Sequence[Segment], write: Callable[..., WrittenSegment], *, is_last: bool) -> None:
        at = self._clock()
        fid = new_fid(at)
        path = segment_path(stream=old[0].stream, task=old[0].task, segment=fid)
        origin = Origin(
            stream=old[0].stream,
            task=old[0].task,
            attempt=old[0].attempt,
            external_version=await self._db.read(tasks.ran_with, old[0].task, old[0].attempt),
        )
        written = await self._engine.ask(write, self._engine, self._store, old, path, staged_as=fid, origin=origin)
        new = _merged(old, written, fid=fid, is_compact=is_last)
        try:
            await self._db.write(_exchange, old, new, written, at=at)
        except MovedMeanwhile:
            self._store.delete(path)  # the next turn processes their new state
            return
        log.info("segments.merged", task=new.task, attempt=new.attempt, segments=len(old), docs=new.docs)


def worth_merging(found: Sequence[Segment]) -> Sequence[Segment]:
    """Return the newest segments of an attempt over the limit, as many as should be merged into one.

    Beyond the newest few, each that is no larger than the newer ones together, so that sizes grow from the newest
    to the oldest and a document is rewritten about twice, however many uploads there are.
    """
    first, behind = len(found), 0
    while first > 0 and (len(found) - first < NEWEST or found[first - 1].docs <= behind):
        first -= 1
        behind += found[first].docs
    return found[first:][:MOST_MERGED]


def _merged(old: Sequence[Segment], written: WrittenSegment, *, fid: str, is_compact: bool) -> Segment:
    contents = ("path", "docs", "bytes", "min_id", "max_id", "digest", "size")
    return replace(
        old[0],
        **{**merged(old), **{name: getattr(written, name) for name in contents}},
        fid=fid,
        is_compact=is_compact,
        removed_version=None,
        damaged_at=None,
        part=0,
    )


def merged(old: Sequence[Segment]) -> dict[str, Any]:
    """Return what the segment that segments of one attempt are merged into has of all of them."""
    added = [segment.added_version for segment in old if segment.added_version is not None]
    whole = [segment.whole_version or segment.added_version or 0 for segment in old]
    return {
        "layer": old[-1].layer,
        "base": old[0].base,
        "min_id": min(segment.min_id for segment in old),
        "max_id": max(segment.max_id for segment in old),
        "added_version": min(added, default=None),
        "whole_version": max(whole) if added and max(whole) > min(added) else None,
        "deletions": sum(segment.deletions for segment in old),
        "created_at": max(segment.created_at for segment in old),
    }


def _exchange(tx: Transaction, old: Sequence[Segment], new: Segment, written: WrittenSegment, *, at: datetime) -> None:
    # Locked: a transaction that deletes or publishes the task must not miss the new row.
    if objects.find(tx, TASKS, new.task, lock=True) is None:
        raise MovedMeanwhile(f"task {new.task} was deleted for good meanwhile")
    # A transaction that moves layers of the stream must see the new row, too.
    objects.find(tx, STREAMS, new.stream, lock=True)
    segments.exchange(tx, old, new)
    intended_files.fulfil(tx, written)
    leave_unnamed(tx, old, at=at)


def leave_unnamed(tx: Transaction, old: Sequence[Segment], *, at: datetime) -> None:
    """Schedule the deletion of what segments were stored in, unless a segment still names it."""
    paths = sorted({segment.path for segment in old})
    named = segments.still_named(tx, paths)
    gone = [path for path in paths if path not in named]
    garbage.leave(tx, [path for path in gone if not is_inlined(path)], until=at + READERS_LEAVE)
    garbage.leave(tx, [path for path in gone if is_inlined(path)], until=at + READERS_FETCH)
