"""Erases one document for good, in every layer. This is for legal requests, not for undo: it cannot be restored."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import structlog

from headwater.catalog import garbage, intended_files, objects, rejects, segment_tables, segments, streams, tasks
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.garbage import READERS_LEAVE
from headwater.catalog.objects import STREAMS, TASKS
from headwater.domain.errors import MovedMeanwhile, NotFound
from headwater.domain.ids import new_fid
from headwater.domain.segment_table import SegmentFile, VisibleSegments
from headwater.domain.stream import (
    Change,
    Erasure,
    Segment,
    Stream,
    VisibleSpan,
    WrittenSegment,
    arrival_of,
    folded_path,
    segment_path,
    spans_shown,
)
from headwater.lake import current
from headwater.lake.engine import Engine
from headwater.lake.erase import write_without
from headwater.lake.segment_format import Origin
from headwater.lake.store import Store

log = structlog.get_logger(__name__)

#: Attempts when the stream's segments change meanwhile.
TRIES = 50
#: In the first of them, an upload in between counts as a change, too.
PATIENCE = 20


@dataclass(frozen=True, kw_only=True)
class Erased:
    """The result of an erasure."""

    #: The stream version from which on the document is gone.
    version: int
    #: Number of erased versions of the document.
    docs: int
    #: Number of rejected lines that were the document, or may have been.
    rejects: int


@dataclass(frozen=True, kw_only=True)
class _Searched:
    """A file that was searched for the document."""

    path: str
    #: The document's positions in it, each with its part as the catalog stores it, and whether it is a deletion there;
    #: usually none.
    places: list[tuple[int, int, bool]]
    #: The file without it; None if that would be empty, or if the document is not in it.
    written: WrittenSegment | None

    def places_of(self, part: int) -> list[tuple[int, bool]]:
        """Return the document's positions in one part, and whether it is a deletion there."""
        return [(pos, is_deletion) for one, pos, is_deletion in self.places if one == part]


class DocumentErasure:
    """Erases documents."""

    def __init__(self, db: Database, engine: Engine, store: Store, *, clock: Callable[[], datetime]) -> None:
        """Find documents with ``engine``, and rewrite files in ``store``."""
        self._db = db
        self._engine = engine
        self._store = store
        self._clock = clock

    async def erase(self, stream: str, doc_id: str) -> Erased:
        """Rewrite every segment that contains a document, visible or not.

        Old versions of the stream no longer have it either. The former files are deleted after the hour for which
        readers may have them open.

        Raises:
            NotFound: the stream does not exist, or has no trace of the document.
            MovedMeanwhile: the stream's segments change faster than files can be searched.
        """
        searched: dict[str, _Searched] = {}
        try:
            erased = await self._erase(stream, doc_id, searched)
        except (NotFound, MovedMeanwhile):
            await self._tidy(searched)
            raise
        # After any other failure it may have been committed: the sweep finds the garbage.
        await self._tidy(searched)
        log.info("document.erased", stream=stream, version=erased.version, docs=erased.docs, rejects=erased.rejects)
        return erased

    async def _erase(self, stream: str, doc_id: str, searched: dict[str, _Searched]) -> Erased:
        for tried in range(TRIES):
            every = await self._db.read(_holding, stream, doc_id)
            # Files never change, so that each is searched once.
            searched |= await self._search(
                every.without([file for file in every.files if file.path in searched]), doc_id
            )
            holding = [segment for segment in every.segments if searched[segment.path].places]
            if not holding:
                return await self._db.write(_erase_rejects, stream, doc_id)
            try:
                # If uploads arrive faster than they can be searched, those that arrived meanwhile are left.
                includes_new_uploads = tried < PATIENCE
                return await self._db.write(
                    _exchange,
                    stream,
                    doc_id,
                    holding,
                    searched,
                    includes_new_uploads=includes_new_uploads,
                    at=self._clock(),
                )
            except MovedMeanwhile:
                continue
        raise MovedMeanwhile(f"the segments of stream {stream} keep changing; try again when fewer uploads come in")

    async def _tidy(self, searched: Mapping[str, _Searched]) -> None:
        """Delete files that were written and are not needed."""
        written = [one.written.path for one in searched.values() if one.written is not None]
        used = await self._db.read(segments.still_named, written)
        for path in written:
            if path not in used:
                await asyncio.to_thread(self._store.delete, path)

    async def _search(self, seen: VisibleSegments, doc_id: str) -> dict[str, _Searched]:
        """Search files for the document, and rewrite those that contain it."""
        files = {file.path: file for file in seen.files}
        places: dict[str, list[tuple[int, int, bool]]] = {path: [] for path in files}
        versions = await self._engine.ask(current.versions_of, self._engine, seen, doc_id)
        deletions = await self._engine.ask(current.deletions_of, self._engine, seen, doc_id, versions)
        for one, is_deletion in zip(versions, deletions, strict=True):
            # Only a folded file has numbers of parts in the catalog.
            places[one.path].append((max(0, one.part), one.pos, is_deletion))
        return {
            path: _Searched(
                path=path,
                places=found,
                written=await self._rewrite(files[path], doc_id) if found else None,
            )
            for path, found in places.items()
        }

    async def _rewrite(self, file: SegmentFile, doc_id: str) -> WrittenSegment | None:
        fid = new_fid(self._clock())
        to = (
            folded_path(stream=file.stream, file=fid)
            if file.task is None
            else segment_path(stream=file.stream, task=file.task, segment=fid)
        )
        origin = await self._db.read(_origin, file)
        return await self._engine.ask(
            write_without, self._engine, self._store, file, doc_id, to, staged_as=fid, origin=origin
        )


def _origin(tx: Transaction, file: SegmentFile) -> Origin:
    if file.task is None:
        return Origin(stream=file.stream)
    attempt = segments.attempt_of(tx, file.fid)
    version = None if attempt is None else tasks.ran_with(tx, file.task, attempt)
    return Origin(stream=file.stream, task=file.task, attempt=attempt, external_version=version)


def _holding(tx: Transaction, fid: str, doc_id: str) -> VisibleSegments:
    objects.get(tx, STREAMS, fid)
    return segment_tables.holding(tx, fid, doc_id)


def _exchange(
    tx: Transaction,
    fid: str,
    doc_id: str,
    holding: Sequence[Segment],
    searched: Mapping[str, _Searched],
    *,
    includes_new_uploads: bool,
    at: datetime,
) -> Erased:
    """Replace the files that contain the document, which must still exist, by those without it."""
    # From here on none of the segments can be merged, removed or restored.
    _lock(tx, fid, doc_id, {segment.task for segment in holding})
    every = segment_tables.holding(tx, fid, doc_id).segments
    named = {(segment.fid, segment.path) for segment in every}
    if any((segment.fid, segment.path) not in named for segment in holding):
        raise MovedMeanwhile(f"the segments of stream {fid} were changed meanwhile")
    if includes_new_uploads and any(segment.path not in searched for segment in every):
        raise MovedMeanwhile(f"stream {fid} has segments that were not looked into")
    paths = sorted({segment.path for segment in holding})
    # All rows that name the files: some may have been restored since the files were searched.
    places = [
        (row, pos, is_deletion)
        for row in every
        if row.path in paths
        for pos, is_deletion in searched[row.path].places_of(row.part)
    ]
    # A version may be in two files, an old one and a merged one.
    docs = len({(row.task, row.attempt, row.base + pos) for row, pos, _ in places})
    versions = [
        version for row, pos, is_deletion in places for version in _stored(tx, row, pos, is_deletion=is_deletion)
    ]
    shown = spans_shown(versions, _floors(tx, fid))
    version = streams.advance_together(tx, fid, Change.ERASE, tasks=None, docs=docs, at=at)
    for path in paths:
        segments.rename(
            tx, fid, path, searched[path].written, erased=Counter(part for part, _, _ in searched[path].places)
        )
    intended_files.fulfil(tx, *(searched[path].written for path in paths))
    garbage.leave(tx, paths, until=at + READERS_LEAVE)
    tx.annotate(stream_version=version, docs=docs)  # without the id, which is being erased
    streams.erased(tx, Erasure(stream=fid, version=version, doc_id=doc_id.encode(), shown=shown))
    return Erased(version=version, docs=docs, rejects=rejects.erase(tx, fid, doc_id))


def _erase_rejects(tx: Transaction, fid: str, doc_id: str) -> Erased:
    """Erase a document that was only rejected; no reader sees a change, so that it makes no stream version."""
    stream = _lock(tx, fid, doc_id, set())
    erased = rejects.erase(tx, fid, doc_id)
    if not erased:
        raise NotFound(f"stream {fid} holds no document {doc_id!r}")
    return Erased(version=stream.stream_version, docs=0, rejects=erased)


def _lock(tx: Transaction, fid: str, doc_id: str, tasks: set[str]) -> Stream:
    """Lock in the order of uploads: the tasks, including those that rejected the document, and then the stream."""
    for task in sorted(tasks | {task for task, _, _ in rejects.of_document(tx, fid, doc_id)}):
        objects.find(tx, TASKS, task, lock=True)
    return objects.get(tx, STREAMS, fid, lock=True)


def _floors(tx: Transaction, stream: str) -> list[VisibleSpan]:
    """Return when each floor of snapshot runs was visible.

    Without those that have a scope: whether they hide a document would take a look at it, and a follower that holds
    nothing of it can bear to be told.
    """
    table = segment_tables.table_of(tx, stream)
    floors = [table.segment(row) for row in np.flatnonzero(table.is_floor & ~table.is_scoped).tolist()]
    return [
        VisibleSpan(rank=(floor.layer, 0), first=floor.added_version, end=floor.removed_version)
        for floor in floors
        if floor.added_version is not None
    ]


def _stored(tx: Transaction, row: Segment, pos: int, *, is_deletion: bool) -> Iterator[VisibleSpan]:
    """Yield when a row made the document at a position visible."""
    if row.added_version is None:
        return
    first = row.added_version
    if row.whole_version is not None:
        total = streams.docs_of(tx, row.task, row.attempt)
        arrival = arrival_of(streams.arrivals(tx, row.task, row.attempt), row.base + pos, total=total)
        # A document without a log entry was unpublished, and became visible with the first of the others.
        first = first if arrival is None else max(first, arrival.version)
    yield VisibleSpan(rank=(row.layer, pos), is_deletion=is_deletion, first=first, end=row.removed_version)
