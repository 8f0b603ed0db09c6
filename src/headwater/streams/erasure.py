"""Erasing one document for good, in every layer. This is for the law, not for undo: nothing brings it back."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from headwater.catalog import garbage, objects, rejects, segments, streams
from headwater.catalog.database import Database
from headwater.catalog.garbage import READERS_LEAVE
from headwater.catalog.objects import STREAMS, TASKS
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import MovedMeanwhile, NotFound
from headwater.domain.fid import new_fid
from headwater.domain.stream import Change, Erasure, Segment, Stream, Written, arrival_of, segment_path
from headwater.lake import winners
from headwater.lake.engine import Engine
from headwater.lake.erasing import write_without
from headwater.lake.store import LocalStore

log = structlog.get_logger(__name__)

#: So often it looks again when the stream's segments have changed meanwhile.
TRIES = 50
#: So often also when something was uploaded meanwhile.
PATIENCE = 20


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What was erased."""

    #: The stream version from which on nobody sees the document.
    version: int
    #: Versions of the document that there were.
    docs: int
    #: Rejected lines that were the document, or may have been.
    rejects: int


@dataclass(frozen=True, kw_only=True)
class _Looked:
    """A file that was looked into."""

    path: str
    #: Where the document lies in it; nowhere, mostly.
    places: list[int]
    #: The file without it; None if that would hold nothing, or if the document is not there anyway.
    written: Written | None


class Eraser:
    """Erases documents."""

    def __init__(self, db: Database, engine: Engine, store: LocalStore, *, clock: Callable[[], datetime]) -> None:
        """Find documents with ``engine``, and rewrite files in ``store``."""
        self._db = db
        self._engine = engine
        self._store = store
        self._clock = clock

    async def erase(self, stream: str, doc_id: str) -> Erased:
        """Rewrite every segment that holds a document, whether it shows or not.

        Old versions of the stream no longer show it either. The former files are deleted after the
        hour for which readers may still have them open.

        Raises:
            NotFound: there is no such stream, or nothing of the document in it.
            MovedMeanwhile: the stream's segments change faster than files can be looked into.
        """
        looked: dict[str, _Looked] = {}
        try:
            erased = await self._erase(stream, doc_id, looked)
        except (NotFound, MovedMeanwhile):
            await self._tidy(looked)
            raise
        # After any other failure it may have been committed: the sweep knows which files are garbage.
        await self._tidy(looked)
        log.info("document.erased", stream=stream, version=erased.version, docs=erased.docs, rejects=erased.rejects)
        return erased

    async def _erase(self, stream: str, doc_id: str, looked: dict[str, _Looked]) -> Erased:
        for tried in range(TRIES):
            every = await self._db.read(_holding, stream, doc_id)
            # What was looked into before has not changed: files never do.
            new = {segment.path: segment for segment in every if segment.path not in looked}
            looked |= await self._look_into(list(new.values()), doc_id)
            holding = [segment for segment in every if looked[segment.path].places]
            if not holding:
                return await self._db.write(_erase_rejects, stream, doc_id)
            try:
                # Where uploads come in faster than they can be looked into, those of the meantime stay.
                all_of_it = tried < PATIENCE
                return await self._db.write(
                    _exchange, stream, doc_id, holding, looked, all_of_it=all_of_it, at=self._clock()
                )
            except MovedMeanwhile:
                continue
        raise MovedMeanwhile(f"the segments of stream {stream} keep changing; try again when fewer uploads come in")

    async def _tidy(self, looked: Mapping[str, _Looked]) -> None:
        """Delete files that were written and are not needed."""
        written = [one.written.path for one in looked.values() if one.written is not None]
        used = await self._db.read(segments.still_named, written)
        for path in written:
            if path not in used:
                await asyncio.to_thread(self._store.delete, path)

    async def _look_into(self, files: Sequence[Segment], doc_id: str) -> dict[str, _Looked]:
        """Look for the document in files, and write those anew in which it is."""
        places: dict[str, list[int]] = {segment.path: [] for segment in files}
        for path, pos, _ in await self._engine.ask(winners.versions_of, self._engine, files, doc_id):
            places[path].append(pos)
        return {
            segment.path: _Looked(
                path=segment.path,
                places=places[segment.path],
                written=await self._rewrite(segment, doc_id) if places[segment.path] else None,
            )
            for segment in files
        }

    async def _rewrite(self, segment: Segment, doc_id: str) -> Written | None:
        fid = new_fid(self._clock())
        to = segment_path(stream=segment.stream, task=segment.task, segment=fid)
        return await asyncio.to_thread(
            write_without, self._store, self._engine.inlined, segment, doc_id, to, staged_as=fid
        )


def _holding(tx: Transaction, fid: str, doc_id: str) -> list[Segment]:
    objects.get(tx, STREAMS, fid)
    return segments.ever_holding(tx, fid, doc_id)


def _exchange(
    tx: Transaction,
    fid: str,
    doc_id: str,
    holding: Sequence[Segment],
    looked: Mapping[str, _Looked],
    *,
    all_of_it: bool,
    at: datetime,
) -> Erased:
    """Let the files without the document take the place of those that hold it, which must still be there."""
    # From here on none of the segments is merged, removed or restored.
    _lock(tx, fid, doc_id, {segment.task for segment in holding})
    every = segments.ever_holding(tx, fid, doc_id)
    named = {(segment.fid, segment.path) for segment in every}
    if any((segment.fid, segment.path) not in named for segment in holding):
        raise MovedMeanwhile(f"the segments of stream {fid} were changed meanwhile")
    if all_of_it and any(segment.path not in looked for segment in every):
        raise MovedMeanwhile(f"stream {fid} has segments that were not looked into")
    paths = sorted({segment.path for segment in holding})
    # All rows that name the files: some may have been put back since they were looked into.
    holding = [segment for segment in every if segment.path in paths]
    # A version may lie in two files, an old one and a merged one.
    docs = len({(row.task, row.attempt, row.base + pos) for row in holding for pos in looked[row.path].places})
    shown = [span for row in holding for pos in looked[row.path].places for span in _shown(tx, row, pos)]
    version = streams.advance_together(tx, fid, Change.ERASE, tasks=None, docs=docs, at=at)
    for path in paths:
        segments.rename(tx, path, looked[path].written)
    garbage.leave(tx, paths, until=at + READERS_LEAVE)
    tx.note(stream_version=version, docs=docs)  # not which: it is to be forgotten
    streams.erased(tx, Erasure(stream=fid, version=version, doc_id=doc_id.encode(), shown=shown))
    return Erased(version=version, docs=docs, rejects=rejects.erase(tx, fid, doc_id))


def _erase_rejects(tx: Transaction, fid: str, doc_id: str) -> Erased:
    """Erase a document that was never taken; nobody sees a change, so that there is no version of it."""
    stream = _lock(tx, fid, doc_id, set())
    erased = rejects.erase(tx, fid, doc_id)
    if not erased:
        raise NotFound(f"stream {fid} holds no document {doc_id!r}")
    return Erased(version=stream.stream_version, docs=0, rejects=erased)


def _lock(tx: Transaction, fid: str, doc_id: str, tasks: set[str]) -> Stream:
    """Lock in the order of uploads: the tasks, those that kept the document aside as well, and then the stream."""
    for task in sorted(tasks | {task for task, _, _ in rejects.of_document(tx, fid, doc_id)}):
        objects.find(tx, TASKS, task, lock=True)
    return objects.get(tx, STREAMS, fid, lock=True)


def _shown(tx: Transaction, row: Segment, pos: int) -> Iterator[tuple[int, int | None]]:
    """Yield at which versions of the stream a row showed the document at a place: from one, up to another."""
    if row.added_version is None:
        return
    first = row.added_version
    if row.whole_version is not None:
        total = streams.docs_of(tx, row.task, row.attempt)
        arrival = arrival_of(streams.arrivals(tx, row.task, row.attempt), row.base + pos, total=total)
        # One that the log tells nothing of waited to be let in, and came to show with the first of the others.
        first = first if arrival is None else max(first, arrival.version)
    yield first, row.removed_version
