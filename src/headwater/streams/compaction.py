"""Merging the segments of a task into one in order of ids, so that reading opens few files and few parts of them."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby

import structlog

from headwater.catalog import garbage, objects, segments
from headwater.catalog.database import Database
from headwater.catalog.garbage import READERS_LEAVE
from headwater.catalog.objects import STREAMS, TASKS
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import MovedMeanwhile
from headwater.domain.fid import new_fid
from headwater.domain.stream import Segment, Written, is_inlined, segment_path
from headwater.lake.engine import Engine
from headwater.lake.merging import concatenate, merge
from headwater.lake.segment import LEAST_ROW_GROUP_BYTES
from headwater.lake.store import LocalStore
from headwater.streams.rounds import Rounds

log = structlog.get_logger(__name__)

#: An open task may have so many files,
MOST_OF_OPEN = 64
#: and so many segments that are none: a reader has them at hand.
MOST_INLINED = 256
#: Of a crowded task, so many of the newest are merged whatever their sizes.
NEWEST = 32
#: So long the catalog keeps what was merged: who reads it has fetched it by then, and it takes room in the database.
READERS_FETCH = timedelta(minutes=10)
#: Segments that are merged at a time, at most.
MOST_MERGED = 2_000
#: Attempts that are looked at in one turn.
MANY = 20


class Compaction:
    """Merges segments; any number of processes may do so at once."""

    def __init__(self, db: Database, engine: Engine, store: LocalStore, *, clock: Callable[[], datetime]) -> None:
        """Merge with ``engine`` into ``store``."""
        self._db = db
        self._engine = engine
        self._store = store
        self._clock = clock
        #: Tasks of which something could not be merged.
        self._broken: set[str] = set()

    async def run(self) -> None:
        """Work until cancelled, half of the time at most."""
        await Rounds(name="compaction", turn=self.turn, rest=0.5, patience=10.0, share=0.5).run(self._db)

    async def turn(self) -> int:
        """Merge what is to be merged, of some tasks; return of how many."""
        ended = await self._db.read(segments.to_compact, but=sorted(self._broken), limit=MANY)
        crowded = await self._crowded(more_than=MOST_OF_OPEN, inlined=False)
        heaped = await self._crowded(more_than=MOST_INLINED, inlined=True)
        done = 0
        for work, attempts in ((self._compact, ended), (self._flush, heaped), (self._thin_out, crowded)):
            for task, attempt in attempts:
                try:
                    await work(await self._db.read(segments.in_place, task, attempt))
                except Exception:
                    # A file that cannot be read, say: the others must not wait for it.
                    log.exception("segments.not_merged", task=task, attempt=attempt)
                    self._broken.add(task)
                else:
                    done += 1
        if not done:
            self._broken.clear()  # to be tried again when there is nothing else to do
        return done

    async def _crowded(self, *, more_than: int, inlined: bool) -> list[tuple[str, int]]:
        return await self._db.read(
            segments.crowded, but=sorted(self._broken), more_than=more_than, inlined=inlined, limit=MANY
        )

    async def _compact(self, found: Sequence[Segment]) -> None:
        """Merge all segments of an attempt that has ended."""
        if len(found) == 1 and found[0].bytes <= LEAST_ROW_GROUP_BYTES and not found[0].is_inlined:
            await self._db.write(segments.settle, found[0])  # a reader reads all of it anyway
        elif found:
            some = found[:MOST_MERGED]
            await self.merge(some, is_last=len(some) == len(found))

    async def _thin_out(self, found: Sequence[Segment]) -> None:
        """Merge the newest segments of an attempt that goes on."""
        some = worth_merging(found)
        if len(some) > 1:
            await self._replace(some, concatenate, is_last=False)

    async def _flush(self, found: Sequence[Segment]) -> None:
        """Write segments of an attempt that goes on, and that are no files, as files."""
        for is_run, run in groupby(found, lambda segment: segment.is_inlined):
            if is_run:
                await self._replace(list(run), concatenate, is_last=False)

    async def merge(self, old: Sequence[Segment], *, is_last: bool) -> None:
        """Write segments of one attempt, in order of arrival, as one, and let it take their place.

        ``is_last`` says that nothing of the attempt is left to merge then.
        """
        await self._replace(old, merge, is_last=is_last)

    async def _replace(self, old: Sequence[Segment], write: Callable[..., Written], *, is_last: bool) -> None:
        at = self._clock()
        fid = new_fid(at)
        path = segment_path(stream=old[0].stream, task=old[0].task, segment=fid)
        written = await self._engine.ask(write, self._engine, self._store, old, path, staged_as=fid)
        new = _merged(old, written, fid=fid, is_compact=is_last)
        try:
            await self._db.write(_exchange, old, new, at=at)
        except MovedMeanwhile:
            self._store.delete(path)  # what has become of them comes with the next turn
            return
        log.info("segments.merged", task=new.task, attempt=new.attempt, segments=len(old), docs=new.docs)


def worth_merging(found: Sequence[Segment]) -> Sequence[Segment]:
    """Return the newest segments of a crowded attempt, as many as are to be merged into one.

    Beyond the newest few, each that is no larger than those behind it together, so that sizes grow from the
    newest to the oldest and a document is written anew twice or so, however many uploads there are.
    """
    first, behind = len(found), 0
    while first > 0 and (len(found) - first < NEWEST or found[first - 1].docs <= behind):
        first -= 1
        behind += found[first].docs
    return found[first:][:MOST_MERGED]


def _merged(old: Sequence[Segment], written: Written, *, fid: str, is_compact: bool) -> Segment:
    first, last = old[0], old[-1]
    added = [segment.added_version for segment in old if segment.added_version is not None]
    whole = [segment.whole_version or segment.added_version or 0 for segment in old]
    return Segment(
        fid=fid,
        stream=first.stream,
        task=first.task,
        attempt=first.attempt,
        layer=last.layer,
        path=written.path,
        docs=written.docs,
        bytes=written.bytes,
        min_id=written.min_id,
        max_id=written.max_id,
        base=first.base,
        is_compact=is_compact,
        added_version=min(added, default=None),
        whole_version=max(whole) if added and max(whole) > min(added) else None,
        removed_version=None,
        created_at=max(segment.created_at for segment in old),
    )


def _exchange(tx: Transaction, old: Sequence[Segment], new: Segment, *, at: datetime) -> None:
    # Locked, since who deletes or publishes the task must not miss a row that is about to be there.
    if objects.find(tx, TASKS, new.task, lock=True) is None:
        raise MovedMeanwhile(f"task {new.task} was deleted for good meanwhile")
    # And who makes room in the order of the stream must see the row that comes.
    objects.find(tx, STREAMS, new.stream, lock=True)
    segments.exchange(tx, old, new)
    paths = sorted({segment.path for segment in old})
    named = segments.still_named(tx, paths)
    gone = [path for path in paths if path not in named]
    garbage.leave(tx, [path for path in gone if not is_inlined(path)], until=at + READERS_LEAVE)
    garbage.leave(tx, [path for path in gone if is_inlined(path)], until=at + READERS_FETCH)
