"""Replays the rejected lines of a task against the current version of its External."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, cast

import numpy as np
import pyarrow as pa
import structlog

from headwater.catalog import externals, objects, rejects, segments, streams, tasks
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS, TASKS
from headwater.catalog.rejects import MANY
from headwater.domain.errors import HeadwaterError, MovedMeanwhile, TaskRemoved, Unavailable
from headwater.domain.ids import new_fid
from headwater.domain.reject import MOST_OF_LINE, Reject, RejectedLine
from headwater.domain.stream import Change, Segment, Stream, WrittenSegment, segment_path
from headwater.domain.task import Publish, Task, TaskState
from headwater.ingest import commit
from headwater.ingest.lines import Block
from headwater.ingest.validation import Checker, LineErrors
from headwater.lake import current
from headwater.lake.disk import Disk
from headwater.lake.engine import Engine
from headwater.lake.segment import SegmentWriter
from headwater.lake.segment_format import SCHEMA, Origin
from headwater.lake.store import Store
from headwater.sandbox.pool import Sandbox

log = structlog.get_logger(__name__)

#: Attempts to commit if the task changes meanwhile.
TRIES = 20


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """Result of a replay."""

    #: Lines that became documents of the task.
    replayed: int
    #: Lines that were dropped, since the task has uploaded a newer version of their document.
    covered: int
    #: Lines that are still rejected.
    rejected: int
    #: The stream version that shows the documents; None if there are none, or if the task is not published.
    version: int | None


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """New verdicts on all rejected lines of an attempt."""

    task: Task
    #: The ids of lines that are valid now, by sequence number.
    passed: Mapping[int, str]
    #: Those of them that are deletions.
    deletions: AbstractSet[int]
    #: Lines with other errors than before.
    failed: Sequence[tuple[int, RejectedLine]]


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """Lines that are ready to be committed, if their task has not changed."""

    task: Task
    joining: Sequence[int]
    covered: Sequence[int]
    written: WrittenSegment | None
    fid: str


class Replays:
    """Replays rejected lines, of any number of tasks concurrently."""

    def __init__(
        self,
        db: Database,
        engine: Engine,
        store: Store,
        *,
        most_inlined: int,
        clock: Callable[[], datetime],
        sandbox: Sandbox,
        disk: Disk | None = None,
    ) -> None:
        """Read the tasks' documents with ``engine``; replayed documents are inlined up to ``most_inlined`` bytes.

        Costly validation runs in ``sandbox``.
        """
        self._disk = disk
        self._db = db
        self._engine = engine
        self._store = store
        self._most_inlined = most_inlined
        self._clock = clock
        self._sandbox = sandbox

    async def replay(self, fid: str) -> Replayed:
        """Replay the rejected lines of a task's current attempt; those that pass become documents of the attempt.

        They are placed above the attempt's documents, except those that a newer upload of the attempt has
        replaced, and below those of later tasks: where they would be had they been accepted at once.
        If the attempt's documents are pending or withheld, so are these.

        Raises:
            NotFound: there is no such task.
            TaskRemoved: it is deleted.
            MovedMeanwhile: uploads arrive faster than replays can be prepared.
            NoRoom: the disk is full.
        """
        if self._disk is not None:
            self._disk.require_room()
        judged = await self._judge(fid)
        for _ in range(TRIES):
            ready = await self._prepare(judged)
            try:
                done = await self._db.write(_join, judged, ready, at=self._clock())
            except Unavailable:
                raise  # it may have been committed: the orphan cleanup decides about the file
            except HeadwaterError as error:
                commit.discard(self._store, ready.written)
                if not isinstance(error, MovedMeanwhile):
                    raise
                continue
            log.info("rejects.replayed", task=fid, replayed=done.replayed, rejected=done.rejected)
            return done
        raise MovedMeanwhile(f"uploads to task {fid} come in too fast; replay when it has ended, or pauses")

    async def _judge(self, fid: str) -> _Judged:
        task, checker = await self._checker(fid)
        passed: dict[int, str] = {}
        deletions: set[int] = set()
        failed: list[tuple[int, RejectedLine]] = []
        verdicts, after = _Verdicts(), 0
        while some := await self._db.read(rejects.page, fid, task.attempt, after=after, limit=MANY):
            after = some[-1].seq
            # The others were stored truncated.
            whole = [reject for reject in some if reject.is_whole]
            if not whole:
                continue
            checked = await self._sandbox.run(partial(checker.checked, _block(whole), verdicts))
            deletions |= {whole[place].seq for place in checked.deletions}
            found = iter(verdicts.take())
            for reject, doc_id in zip(whole, cast("Any", checked.ids).to_pylist(), strict=True):
                if doc_id is not None:
                    passed[reject.seq] = doc_id
                elif _differs(line := next(found), reject):
                    failed.append((reject.seq, line))
        return _Judged(task=task, passed=passed, deletions=deletions, failed=failed)

    async def _checker(self, fid: str) -> tuple[Task, Checker]:
        def look(tx: Transaction) -> tuple[Task, Callable[[], Checker]]:
            task = objects.get(tx, TASKS, fid)
            _require_there(task)
            external = externals.to_run(tx, task.external)
            return task, lambda: Checker(external.definition, external=external.name, sandbox=self._sandbox)

        task, compiled = await self._db.read(look)
        return task, await self._sandbox.run(compiled)

    async def _prepare(self, judged: _Judged) -> _Ready:
        """Write the lines that passed as a segment, except those whose document has a newer version."""

        def look(tx: Transaction) -> tuple[Task, list[Segment], dict[int, int]]:
            task = objects.get(tx, TASKS, judged.task.fid)
            _require_same(task, judged.task)
            return task, segments.of_attempt(tx, task), rejects.replayed(tx, task)

        task, brought, replayed = await self._db.read(look)
        ids = sorted(set(judged.passed.values()))
        last = await self._engine.ask(current.last_places, self._engine, brought, ids)
        fid = new_fid(self._clock())
        path = segment_path(stream=task.stream, task=task.fid, segment=fid)
        origin = Origin(stream=task.stream, task=task.fid, attempt=task.attempt, external_version=task.external_version)
        writer = SegmentWriter(self._store, path, staged_as=fid, most_inlined=self._most_inlined, origin=origin)
        joining: list[int] = []
        covered: list[int] = []
        seqs = list(judged.passed)
        try:
            for start in range(0, len(seqs), MANY):
                there = await self._db.read(rejects.at_places, task, seqs[start : start + MANY])
                fresh: list[Reject] = []
                for reject in there:  # a line that was erased meanwhile is missing
                    is_covered = _is_covered(reject, last.get(judged.passed[reject.seq]), replayed)
                    covered.append(reject.seq) if is_covered else fresh.append(reject)
                if fresh:
                    names = [judged.passed[reject.seq] for reject in fresh]
                    gone = judged.deletions
                    await asyncio.to_thread(_add, writer, fresh, names, deletions=gone, first=len(joining))
                    joining += [reject.seq for reject in fresh]
            written = await asyncio.to_thread(writer.finish)
        except BaseException:
            writer.discard()
            raise
        return _Ready(task=task, joining=joining, covered=covered, written=written, fid=fid)


class _Verdicts(LineErrors):
    """Collects the errors of lines, each separately."""

    def __init__(self) -> None:
        super().__init__()
        self._found: list[RejectedLine] = []

    @property
    def listing(self) -> bool:
        return True

    @property
    def thorough(self) -> bool:
        return super().listing

    def record(self, line: RejectedLine) -> None:
        super().record(line)
        self._found.append(line)

    def take(self) -> list[RejectedLine]:
        found, self._found = self._found, []
        return found


def _is_covered(reject: Reject, last: int | None, replayed: Mapping[int, int]) -> bool:
    """Return whether the attempt has a later version of a document, given the position of its last one.

    A replayed version counts as having arrived with its line.
    """
    if last is None:
        return False
    return replayed[last] > reject.seq if last in replayed else last >= reject.arrived


def _block(found: Sequence[Reject]) -> Block:
    ends = np.cumsum([reject.size + 1 for reject in found])
    return Block(
        data=b"".join(reject.raw + b"\n" for reject in found),
        offsets=np.concatenate(([0], ends)).astype(np.int32),
        numbers=np.array([reject.line for reject in found]),
        places=np.array([reject.offset for reject in found]),
    )


def _differs(line: RejectedLine, reject: Reject) -> bool:
    return line.kind != reject.kind or list(line.flaws[:MOST_OF_LINE]) != reject.flaws


def _add(
    writer: SegmentWriter, found: Sequence[Reject], ids: Sequence[str], *, deletions: AbstractSet[int], first: int
) -> None:
    places = np.arange(first, first + len(found))
    texts = ["" if reject.seq in deletions else reject.raw.decode() + "\n" for reject in found]
    columns = [pa.array(ids, pa.string()), pa.array(places), pa.array(texts, pa.string())]
    batch = cast("Any", pa).record_batch(columns, schema=SCHEMA)
    size = sum(reject.size + 1 for reject, text in zip(found, texts, strict=True) if text)
    writer.add(batch, size=size, deletions=texts.count(""))


def _require_there(task: Task) -> None:
    if task.removed_at is not None:
        raise TaskRemoved(f"task {task.fid} is deleted; restore it before you replay its rejected lines")


def _require_same(task: Task, judged: Task) -> None:
    _require_there(task)
    if task.attempt != judged.attempt:
        raise MovedMeanwhile(
            f"attempt {judged.attempt} of task {task.fid} is over: it is at attempt {task.attempt} now"
        )


def _join(tx: Transaction, judged: _Judged, ready: _Ready, *, at: datetime) -> Replayed:
    """Commit replayed documents to their attempt, which must not have changed since they were prepared."""
    task = objects.get(tx, TASKS, judged.task.fid, lock=True)
    _require_same(task, judged.task)
    if task.versions != ready.task.versions:
        raise MovedMeanwhile(f"task {task.fid} has brought more meanwhile")
    rejects.leave(tx, task, ready.joining, ready.covered)
    rejects.judge_anew(tx, task, [(seq, line.kind, line.flaws[:MOST_OF_LINE]) for seq, line in judged.failed])
    left = task.rejected - len(ready.joining) - len(ready.covered)
    version, size, deleted, is_to_sum_up = None, 0, 0, False
    if ready.written is not None:
        # Locked before the layers above are read: no merge or restore happens from here on.
        stream: Stream = objects.get(tx, STREAMS, task.stream, lock=True)
        version, size = _put(tx, task, ready.written, fid=ready.fid, at=at), ready.written.bytes
        deleted = ready.written.deletions
        replaced = streams.replaced_by(tx, task)
        # The diff cannot be computed again if what the task replaced is purged.
        is_to_sum_up = version is not None and (replaced is None or replaced > stream.purged_version)
    docs = len(ready.joining) - deleted
    tasks.joined(tx, task, docs=docs, deleted=deleted, size=size, rejected=left, is_to_sum_up=is_to_sum_up)
    return Replayed(replayed=len(ready.joining), covered=len(ready.covered), rejected=left, version=version)


def _put(tx: Transaction, task: Task, written: WrittenSegment, *, fid: str, at: datetime) -> int | None:
    """Place a segment on top of the attempt's others; return the version that shows it."""
    layer = streams.make_room(tx, task, above=segments.lowest_after(tx, task))
    # Withheld segments return together, so this one is marked as removed with the others.
    gone = streams.withheld_by(tx, task) if task.is_withheld else None
    shows = not task.is_withheld and (task.publish is Publish.LIVE or task.state is TaskState.DONE)
    version = streams.advance(tx, task, Change.REPLAY, docs=written.docs, at=at) if shows else None
    commit.add_segment(
        tx,
        task,
        written,
        fid=fid,
        layer=layer,
        base=task.versions,
        added_version=version if gone is None else gone,
        removed_version=gone,
        at=at,
    )
    return version
