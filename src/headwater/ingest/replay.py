"""Trying again what a task's uploads had to leave aside, against the version of its External that is in use now."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import numpy as np
import pyarrow as pa
import structlog

from headwater.catalog import externals, objects, rejects, segments, streams, tasks
from headwater.catalog.database import Database
from headwater.catalog.objects import STREAMS, TASKS
from headwater.catalog.rejects import MANY
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import HeadwaterError, MovedMeanwhile, TaskRemoved, Unavailable
from headwater.domain.fid import new_fid
from headwater.domain.reject import MOST_OF_LINE, Reject, RejectedLine
from headwater.domain.stream import Change, Segment, Stream, Written, segment_path
from headwater.domain.task import Publish, Task, TaskState
from headwater.ingest import placing
from headwater.ingest.lines import Block
from headwater.ingest.validation import Checker, Faults
from headwater.lake import winners
from headwater.lake.engine import Engine
from headwater.lake.segment import SCHEMA, SegmentWriter
from headwater.lake.store import LocalStore

log = structlog.get_logger(__name__)

#: So often it looks again when the task has changed meanwhile.
TRIES = 20


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What became of lines that were kept aside."""

    #: Those that are documents of the task now.
    replayed: int
    #: Those that would be, had their task not brought a newer version of the document since; they are gone.
    covered: int
    #: Those that are still kept aside, or counted.
    rejected: int
    #: The stream version that shows the documents; None if there are none, or if they wait with those of their task.
    version: int | None


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """All lines of an attempt, looked at once more."""

    task: Task
    #: The ids of those that are documents now, by their places among the rejected lines.
    passed: Mapping[int, str]
    #: Those with which something else is wrong now.
    failed: Sequence[tuple[int, RejectedLine]]


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """Lines that can join their task, if it is still as it was."""

    task: Task
    joining: Sequence[int]
    covered: Sequence[int]
    written: Written | None
    fid: str


class Replays:
    """Replays rejected lines, any number of tasks at once."""

    def __init__(
        self, db: Database, engine: Engine, store: LocalStore, *, most_inlined: int, clock: Callable[[], datetime]
    ) -> None:
        """Look with ``engine`` at what tasks have brought; what joins them is inlined up to ``most_inlined`` bytes."""
        self._db = db
        self._engine = engine
        self._store = store
        self._most_inlined = most_inlined
        self._clock = clock

    async def replay(self, fid: str) -> Replayed:
        """Try the rejected lines of a task's present attempt again; those that pass join the attempt.

        They lie on top of all that it has brought, but for those of which it has brought a newer version
        since, and below all that later tasks brought: where they would lie had they been taken at once.
        Where its documents wait, for success or to be let in by hand, these wait with them.

        Raises:
            NotFound: there is no such task.
            TaskRemoved: it is deleted.
            MovedMeanwhile: uploads come in faster than it can be told what they cover.
        """
        judged = await self._judge(fid)
        for _ in range(TRIES):
            ready = await self._prepare(judged)
            try:
                done = await self._db.write(_join, judged, ready, at=self._clock())
            except Unavailable:
                raise  # it may have been committed: the sweep knows whether the file is garbage
            except HeadwaterError as error:
                placing.drop(self._store, ready.written)
                if not isinstance(error, MovedMeanwhile):
                    raise
                continue
            log.info("rejects.replayed", task=fid, replayed=done.replayed, rejected=done.rejected)
            return done
        raise MovedMeanwhile(f"uploads to task {fid} come in too fast; replay when it has ended, or pauses")

    async def _judge(self, fid: str) -> _Judged:
        task, checker = await self._checker(fid)
        passed: dict[int, str] = {}
        failed: list[tuple[int, RejectedLine]] = []
        verdicts, after = _Verdicts(), 0
        while some := await self._db.read(rejects.page, fid, task.attempt, after=after, limit=MANY):
            after = some[-1].seq
            # Of the others, some is missing.
            whole = [reject for reject in some if reject.is_whole]
            if not whole:
                continue
            ids = await asyncio.to_thread(checker.ids, _block(whole), verdicts)
            found = iter(verdicts.take())
            for reject, doc_id in zip(whole, cast("Any", ids).to_pylist(), strict=True):
                if doc_id is not None:
                    passed[reject.seq] = doc_id
                elif _differs(line := next(found), reject):
                    failed.append((reject.seq, line))
        return _Judged(task=task, passed=passed, failed=failed)

    async def _checker(self, fid: str) -> tuple[Task, Checker]:
        def look(tx: Transaction) -> tuple[Task, Callable[[], Checker]]:
            task = objects.get(tx, TASKS, fid)
            _require_there(task)
            external = externals.to_run(tx, task.external)
            return task, lambda: Checker(external.definition, external=external.name)

        task, compiled = await self._db.read(look)
        return task, await asyncio.to_thread(compiled)

    async def _prepare(self, judged: _Judged) -> _Ready:
        """Write what passed as a segment, without the lines of which newer versions have come."""

        def look(tx: Transaction) -> tuple[Task, list[Segment], dict[int, int]]:
            task = objects.get(tx, TASKS, judged.task.fid)
            _require_same(task, judged.task)
            return task, segments.of_attempt(tx, task), rejects.replayed(tx, task)

        task, brought, replayed = await self._db.read(look)
        ids = sorted(set(judged.passed.values()))
        last = await self._engine.ask(winners.last_places, self._engine, brought, ids)
        fid = new_fid(self._clock())
        path = segment_path(stream=task.stream, task=task.fid, segment=fid)
        writer = SegmentWriter(self._store, path, staged_as=fid, most_inlined=self._most_inlined)
        joining: list[int] = []
        covered: list[int] = []
        seqs = list(judged.passed)
        try:
            for start in range(0, len(seqs), MANY):
                there = await self._db.read(rejects.at_places, task, seqs[start : start + MANY])
                fresh: list[Reject] = []
                for reject in there:  # one that is erased meanwhile is not
                    is_covered = _is_covered(reject, last.get(judged.passed[reject.seq]), replayed)
                    covered.append(reject.seq) if is_covered else fresh.append(reject)
                if fresh:
                    names = [judged.passed[reject.seq] for reject in fresh]
                    await asyncio.to_thread(_add, writer, fresh, names, first=len(joining))
                    joining += [reject.seq for reject in fresh]
            written = await asyncio.to_thread(writer.finish)
        except BaseException:
            writer.discard()
            raise
        return _Ready(task=task, joining=joining, covered=covered, written=written, fid=fid)


class _Verdicts(Faults):
    """What is wrong with lines, each by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._found: list[RejectedLine] = []

    @property
    def listing(self) -> bool:
        return True

    @property
    def thorough(self) -> bool:
        return super().listing

    def tell(self, line: RejectedLine) -> None:
        super().tell(line)
        self._found.append(line)

    def take(self) -> list[RejectedLine]:
        found, self._found = self._found, []
        return found


def _is_covered(reject: Reject, last: int | None, replayed: Mapping[int, int]) -> bool:
    """Tell whether its attempt has a later version of a document, by the place where the last that came lies.

    A version that was itself replayed came when its line did.
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


def _add(writer: SegmentWriter, found: Sequence[Reject], ids: Sequence[str], *, first: int) -> None:
    places = np.arange(first, first + len(found))
    texts = [reject.raw.decode() + "\n" for reject in found]
    columns = [pa.array(ids, pa.string()), pa.array(places), pa.array(texts, pa.string())]
    batch = cast("Any", pa).record_batch(columns, schema=SCHEMA)
    writer.add(batch, size=sum(reject.size + 1 for reject in found))


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
    """Let documents join their attempt, which must still be as it was when it was looked at."""
    task = objects.get(tx, TASKS, judged.task.fid, lock=True)
    _require_same(task, judged.task)
    if task.docs != ready.task.docs:
        raise MovedMeanwhile(f"task {task.fid} has brought more meanwhile")
    rejects.leave(tx, task, ready.joining, ready.covered)
    rejects.judge_anew(tx, task, [(seq, line.kind, line.flaws[:MOST_OF_LINE]) for seq, line in judged.failed])
    left = task.rejected - len(ready.joining) - len(ready.covered)
    version, size, is_to_sum_up = None, 0, False
    if ready.written is not None:
        # Locked before it is looked what lies above: nothing is merged or put back from here on.
        stream: Stream = objects.get(tx, STREAMS, task.stream, lock=True)
        version, size = _put(tx, task, ready.written, fid=ready.fid, at=at), ready.written.bytes
        replaced = streams.replaced_by(tx, task)
        # What is purged since cannot be counted again.
        is_to_sum_up = version is not None and (replaced is None or replaced > stream.purged_version)
    tasks.joined(tx, task, docs=len(ready.joining), size=size, rejected=left, is_to_sum_up=is_to_sum_up)
    return Replayed(replayed=len(ready.joining), covered=len(ready.covered), rejected=left, version=version)


def _put(tx: Transaction, task: Task, written: Written, *, fid: str, at: datetime) -> int | None:
    """Put documents on top of what an attempt has brought; return the version that shows them."""
    layer = streams.make_room(tx, task, above=segments.lowest_after(tx, task))
    # What a gate had taken out comes back together: the segment stands as if it had gone with the others.
    gone = streams.withheld_by(tx, task) if task.is_withheld else None
    shows = not task.is_withheld and (task.publish is Publish.LIVE or task.state is TaskState.DONE)
    version = streams.advance(tx, task, Change.REPLAY, docs=written.docs, at=at) if shows else None
    placing.put(
        tx,
        task,
        written,
        fid=fid,
        layer=layer,
        base=task.docs,
        added_version=version if gone is None else gone,
        removed_version=gone,
        at=at,
    )
    return version
