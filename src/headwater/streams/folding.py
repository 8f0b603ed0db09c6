"""Folding: merges the files of a stream in tiers, so that a reader opens few files, however many runs there were.

A file of size s is in tier log(s). Once a tier has several files, these and all smaller ones are merged into one of a
higher tier: a document is rewritten once a tier, and there are few files in each. What a reader sees does not change:
the catalog goes on naming the documents of each segment, in the new file.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

import numpy as np
import structlog

from headwater.catalog import intended_files, objects, segment_tables, segments, settled, streams
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.catalog.segments import FoldedRow
from headwater.domain.errors import MovedMeanwhile, SegmentDamaged
from headwater.domain.ids import new_fid
from headwater.domain.segment_table import NEVER, SegmentFile, SegmentTable
from headwater.domain.stream import Segment, folded_path
from headwater.lake.disk import Disk
from headwater.lake.engine import Engine
from headwater.lake.fold import Folded, Part, fold
from headwater.lake.segment_format import Origin
from headwater.lake.store import Store
from headwater.streams.background_loop import BackgroundLoop
from headwater.streams.backoff import Backoff
from headwater.streams.compaction import leave_unnamed, merged

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tiers:
    """When files are folded."""

    #: Bytes of documents up to which a file is in the lowest tier.
    unit: int = 256 << 10
    #: Files of a tier that are folded together, and how many times larger a file of the next tier is.
    fanout: int = 4
    #: Maximum bytes of documents in a folded file: folding takes as much space again while it runs.
    most_bytes: int = 8 << 30

    def of(self, size: int) -> int:
        """Return the tier of a file with so many bytes of documents."""
        return 0 if size <= self.unit else math.ceil(math.log(size / self.unit, self.fanout))


#: Segments that change place in one transaction.
MOST_MOVED = 500


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is folded as a whole: a file, or the segments of one attempt."""

    files: tuple[SegmentFile, ...]

    @property
    def size(self) -> int:
        """Bytes of documents."""
        return sum(file.bytes for file in self.files)


class Folding:
    """Folds the files of streams; any number of processes may do so concurrently."""

    def __init__(
        self,
        db: Database,
        engine: Engine,
        store: Store,
        *,
        clock: Callable[[], datetime],
        disk: Disk | None = None,
        tiers: Tiers | None = None,
    ) -> None:
        """Fold with ``engine`` into ``store``, while the ``disk`` has free space."""
        self._db = db
        self._engine = engine
        self._store = store
        self._clock = clock
        self._disk = disk
        self._tiers = tiers or Tiers()
        #: The version and layout of each stream in which there was nothing to fold.
        self._done: dict[str, tuple[int, int]] = {}
        #: Streams whose files could not be folded.
        self._failed = Backoff(lambda: clock().timestamp())

    async def run(self) -> None:
        """Run until cancelled, half of the time at most."""
        await BackgroundLoop(name="folding", turn=self.turn, rest=0.5, poll_interval=10.0, share=0.5).run(self._db)

    async def turn(self) -> int:
        """Fold once in each stream that has changed; return in how many."""
        if self._disk is not None and not self._disk.has_room:
            return 0
        done = 0
        waiting = set(self._failed.waiting())
        states = await self._db.read(streams.states)
        self._done = {stream: state for stream, state in self._done.items() if stream in states}
        for stream, state in states.items():
            if stream in waiting or self._done.get(stream) == state:
                continue
            try:
                folded = await self.fold(stream)
            except SegmentDamaged as error:
                # The damage is recorded, so that the file is left out from now on.
                again = self._failed.failed(stream)
                log.error("stream.not_folded", stream=stream, fault=error.detail, retry_in=again)  # noqa: TRY400 - it is known where it comes from
            except Exception:
                again = self._failed.failed(stream)
                log.exception("stream.not_folded", stream=stream, retry_in=again)
            else:
                self._failed.succeeded(stream)
                done += folded
                if not folded:
                    self._done[stream] = state
        return done

    async def fold(self, stream: str) -> bool:
        """Fold some files of a stream; return whether there was anything to fold."""
        table = await self._db.read(segment_tables.table_of, stream)
        found, done = await self._db.read(_settled, stream)
        chosen = to_fold(table, self._tiers)
        chosen = chosen or await self._engine.ask(self._to_thin_out, table, found, done)
        if not chosen:
            return False
        parts = [replace(part, is_settled=_is_settled(part, found, done)) for part in parts_of(table, chosen)]
        last = await self._db.write(streams.relaid, stream, count=len(parts))
        parts = [replace(part, number=last - len(parts) + 1 + place) for place, part in enumerate(parts)]
        fid = new_fid(self._clock())
        path = folded_path(stream=stream, file=fid)
        origin = Origin(stream=stream, settled_version=done)
        written = await self._engine.ask(fold, self._engine, self._store, parts, path, staged_as=fid, origin=origin)
        moved = await self._move(stream, parts, written, path)
        if moved:
            log.info("stream.folded", stream=stream, files=sum(len(one.files) for one in chosen), segments=len(parts))
        return moved

    def _to_thin_out(self, table: SegmentTable, done: set[str], version: int) -> list[Candidate]:
        """Return a folded file of which half is of no use: versions of purged runs, or newly settled ones."""
        rows = table.is_of(done) & (table.added_version <= version) & (table.removed_version == NEVER)
        for place, file in enumerate(table.files):
            if not file.is_folded or file.damaged_at is not None:
                continue
            footer = self._engine.footers.of(file.path, is_folded=True)
            before = footer.settled_version
            newly = int(table.docs[rows & (table.file == place) & (table.added_version > before)].sum())
            purged = footer.metadata.num_rows - file.docs
            if 2 * max(newly, purged) > footer.metadata.num_rows:
                return [Candidate(files=(file,))]
        return []

    async def _move(self, stream: str, parts: Sequence[Part], written: Folded, path: str) -> bool:
        """Point the catalog's rows to the new file, some at a time: readers see the same in either file."""
        for start in range(0, len(parts), MOST_MOVED):
            try:
                some, is_first = parts[start : start + MOST_MOVED], start == 0
                await self._db.write(_move, stream, some, written, is_first=is_first, at=self._clock())
            except MovedMeanwhile:
                if start == 0:
                    self._store.delete(path)
                return start > 0  # the next turn processes the new state
        return True


def _settled(tx: Transaction, fid: str) -> tuple[set[str], int]:
    """Return the settled tasks of a stream, and the version that shows all of them."""
    stream = objects.find(tx, STREAMS, fid)
    return (set(), 0) if stream is None else (settled.tasks_of(tx, stream), stream.purged_version)


def _is_settled(part: Part, done: set[str], version: int) -> bool:
    return all(
        one.task in done
        and one.added_version is not None
        and max(one.added_version, one.whole_version or 0) <= version
        and one.removed_version is None
        for one in part.segments
    )


def to_fold(table: SegmentTable, tiers: Tiers) -> list[Candidate]:
    """Return what should be folded into one file now; nothing if there are few files in each tier."""
    candidates = sorted(_candidates(table), key=lambda one: one.size)
    counts: dict[int, int] = {}
    for one in candidates:
        tier = tiers.of(one.size)
        counts[tier] = counts.get(tier, 0) + 1
    highest = max((tier for tier, count in counts.items() if count >= tiers.fanout), default=-1)
    chosen: list[Candidate] = []
    size = 0
    for one in candidates:
        size += one.size
        if tiers.of(one.size) > highest or size > tiers.most_bytes:
            break
        chosen.append(one)
    return chosen if len(chosen) > 1 else []


def _candidates(table: SegmentTable) -> list[Candidate]:
    """Return the files of attempts that have ended; those of one attempt together."""
    by_attempt: dict[tuple[int, int], list[int]] = {}
    found: list[Candidate] = []
    open_files = set(table.file[~table.is_compact].tolist())
    damaged = {place for place, file in enumerate(table.files) if file.damaged_at is not None}
    removed = set(table.file[table.removed_version < NEVER].tolist())
    floors = set(table.file[table.is_floor].tolist())
    places, rows = np.unique(table.file, return_index=True)
    for place, row in zip(cast("list[int]", places.tolist()), cast("list[int]", rows.tolist()), strict=True):
        if place in open_files or place in damaged or place in floors:
            continue
        file = table.files[place]
        if file.is_folded or place in removed:
            found.append(Candidate(files=(file,)))
        else:
            by_attempt.setdefault((int(table.task[row]), int(table.attempt[row])), []).append(place)
    found += [Candidate(files=tuple(table.files[place] for place in places)) for places in by_attempt.values()]
    return found


def parts_of(table: SegmentTable, chosen: Sequence[Candidate]) -> list[Part]:
    """Return the parts of the file that candidates are folded into, lowest layer first; numbers are given later."""
    rows: dict[str, list[int]] = {}
    for row, place in enumerate(cast("list[int]", table.file.tolist())):
        rows.setdefault(table.files[place].path, []).append(row)
    parts: list[Part] = []
    for one in chosen:
        own = [row for file in one.files for row in rows[file.path]]
        if len(one.files) > 1:
            parts.append(_part(sorted((table.segment(row) for row in own), key=lambda segment: segment.base)))
        else:
            # Rows for several periods of visibility are of one part.
            distinct = {int(table.part[row]): row for row in own}
            parts += [_part([table.segment(row)]) for row in distinct.values()]
    return sorted(parts, key=lambda part: part.segments[-1].layer)


def _part(sources: Sequence[Segment]) -> Part:
    return Part(number=0, segments=sources)


def _move(
    tx: Transaction, stream: str, parts: Sequence[Part], written: Folded, *, is_first: bool, at: datetime
) -> None:
    """Point the rows of segments to a folded file."""
    # From here on no segment of the stream can be published, removed, restored, erased or purged.
    if objects.find(tx, STREAMS, stream, lock=True) is None:
        raise MovedMeanwhile(f"stream {stream} was deleted meanwhile")
    segments.require_unmoved(tx, [part.segments for part in parts])
    if is_first:
        intended_files.fulfil(tx, written.file)
    layout = streams.relaid(tx, stream)
    segments.move(tx, [_row(part, written) for part in parts], layout=layout)
    leave_unnamed(tx, [segment for part in parts for segment in part.segments], at=at)


def _row(part: Part, written: Folded) -> FoldedRow:
    if written.file is None:
        raise ValueError("segments without documents cannot be folded")
    changes: Mapping[str, object] = {
        "path": written.file.path,
        "digest": written.file.digest,
        "size": written.file.size,
        "part": part.number,
        "is_compact": True,
        "damaged_at": None,
    }
    if part.is_new or part.is_settled:
        docs = {"docs": written.docs.get(part.number, 0), "bytes": written.bytes.get(part.number, 0)}
        changes = {**changes, **docs}
    if len(part.segments) > 1:
        changes = {**changes, **merged(part.segments)}
    return FoldedRow(segments=part.segments, changes=changes)
