"""Diffs: what a task changed in its stream, and what deleting or restoring tasks would change."""

from collections.abc import Callable, Sequence

import numpy as np

from headwater.catalog import objects, segment_tables, settled, streams, tasks
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS, TASKS
from headwater.domain.errors import VersionForgotten
from headwater.domain.segment_table import SegmentTable, VisibleSegments
from headwater.domain.stream import Counts, Stream, Visibility
from headwater.domain.task import Task, TaskFilter, require_unpurged
from headwater.lake.diff import Diff, DiffRow, Moves, Operation
from headwater.lake.engine import Engine
from headwater.lake.integrity import Skipped
from headwater.streams.documents import intact

#: The visible segments before, and after.
Sides = tuple[VisibleSegments, VisibleSegments]
#: Both sides of a diff without documents.
_EMPTY = VisibleSegments(SegmentTable("", []), np.array([], np.int64))
NOTHING: Sides = (_EMPTY, _EMPTY)
#: A catalog query that returns the two sides.
Question = Callable[[Transaction], Sides]


class TaskDiffs:
    """Computes what tasks changed, and what actions on them would change."""

    def __init__(self, db: Database, engine: Engine) -> None:
        """Query the catalog for the segments, and the engine for their documents."""
        self._db = db
        self._engine = engine

    async def counts(self, question: Question, *, skipped: Skipped | None = None) -> Counts:
        """Return how many documents were added, changed and removed, comparing their texts.

        Raises:
            SegmentDamaged: a segment is damaged, and ``skipped`` is None.
        """
        return await self._engine.ask((await self._compared(question, skipped)).counts)

    async def counts_of_moves(self, question: Question, *, skipped: Skipped | None = None) -> Moves:
        """Return how many documents have another current version, without comparing texts.

        Raises:
            SegmentDamaged: a segment is damaged, and ``skipped`` is None.
        """
        return await self._engine.ask((await self._compared(question, skipped)).moves)

    async def page(
        self,
        question: Question,
        operation: Operation,
        *,
        after: str | None,
        limit: int,
        skipped: Skipped | None = None,
    ) -> list[DiffRow]:
        """Return documents with an operation, in id order.

        Raises:
            SegmentDamaged: a segment is damaged, and ``skipped`` is None.
        """
        comparison = await self._compared(question, skipped)
        return await self._engine.ask(comparison.page, operation, after=after, limit=limit)

    async def _compared(self, question: Question, skipped: Skipped | None) -> Diff:
        sides = await self._db.read(question)
        before, after = [await intact(self._engine, side, skipped) for side in sides]
        return Diff(self._engine, before, after)


def of_task(tx: Transaction, fid: str) -> Sides:
    """Return a stream without, and with, the documents of a task's current attempt.

    That is at the last version that the attempt made, beneath later attempts: replayed lines may be added long
    after it. A successful retry is compared with the documents of former attempts, which it replaced.

    Raises:
        NotFound: the task does not exist.
        VersionForgotten: that version of the stream is purged.
    """
    task = objects.get(tx, TASKS, fid)
    version = streams.made_by(tx, task)
    if version is None:
        return NOTHING
    stream: Stream = objects.get(tx, STREAMS, task.stream)
    replaced = streams.replaced_by(tx, task)
    # What a version replaced is purged with it, one version before its own documents.
    if not stream.remembers(version) or (replaced is not None and replaced <= stream.purged_version):
        raise VersionForgotten(
            f"what task {fid} did is purged: it made version {version} of its stream, of which what was before "
            f"version {stream.purged_version} is no longer kept; the task's summary still tells the counts"
        )
    shown = segment_tables.visible(tx, task.stream, Visibility(version=version))
    table = shown.table
    is_own = table.is_of([task.fid]) & (table.attempt == task.attempt)
    layers = table.layer[is_own & table.is_shown_at(version)]
    after = shown if not len(layers) else shown.only(table.layer <= layers.max())
    others = after.but(is_own)
    if replaced is None:
        return others, after
    return others.plus(table.is_of([task.fid]) & ~is_own & (table.removed_version == replaced)), after


def of_delete(tx: Transaction, fid: str) -> Sides:
    """Return a task's stream as it is, and as it would be if the task were deleted.

    Raises:
        NotFound: the task does not exist.
        RunSettled: it is settled.
    """
    task = objects.get(tx, TASKS, fid)
    if task.removed_at is not None:
        return NOTHING
    settled.require_undoable(tx, objects.get(tx, STREAMS, task.stream), [fid])
    return _without(tx, task.stream, [task])


def of_restore(tx: Transaction, fid: str) -> Sides:
    """Return a deleted task's stream as it is, and as it would be if the task were restored.

    Raises:
        NotFound: the task does not exist.
        TaskPurged: its documents are purged.
    """
    task = objects.get(tx, TASKS, fid)
    require_unpurged(task, objects.get(tx, STREAMS, task.stream))
    return NOTHING if task.removed_at is None else _with(tx, task.stream, [task])


def of_revert(tx: Transaction, stream: str, wanted: TaskFilter) -> Sides:
    """Return a stream as it is, and as it would be if the tasks that match a filter were deleted.

    Raises:
        NotFound: the stream does not exist.
            RequestInvalid: the filter names tasks that are not of this stream.
    """
    found: Stream = objects.get(tx, STREAMS, stream)
    gone = tasks.matching(tx, stream, wanted, removed=False)
    settled.require_undoable(tx, found, [task.fid for task in gone])
    return _without(tx, stream, gone)


def of_restore_all(tx: Transaction, stream: str, wanted: TaskFilter) -> Sides:
    """Return a stream as it is, and as it would be if the deleted tasks that match a filter were restored.

    Raises:
        NotFound: the stream does not exist.
            RequestInvalid: the filter names tasks that are not of this stream.
    """
    back, _ = recoverable(tx, stream, wanted)
    return _with(tx, stream, back)


def recoverable(tx: Transaction, stream: str, wanted: TaskFilter) -> tuple[list[Task], list[Task]]:
    """Return the deleted tasks that match a filter: those that can be restored, and those that are purged.

    Raises:
        NotFound: the stream does not exist.
            RequestInvalid: the filter names tasks that are not of this stream.
    """
    found: Stream = objects.get(tx, STREAMS, stream)
    removed = tasks.matching(tx, stream, wanted, removed=True)
    purged = [task for task in removed if task.is_purged(found)]
    return [task for task in removed if not task.is_purged(found)], purged


def _without(tx: Transaction, stream: str, gone: Sequence[Task]) -> Sides:
    before = _shown(tx, stream)
    return before, before.but(before.table.is_of({task.fid for task in gone}))


def _with(tx: Transaction, stream: str, back: Sequence[Task]) -> Sides:
    before = _shown(tx, stream)
    table, after = before.table, before
    by_version: dict[int, set[str]] = {}
    for task in back:
        if task.removed_version is not None:
            by_version.setdefault(task.removed_version, set()).add(task.fid)
    for version, fids in by_version.items():
        after = after.plus(table.is_of(fids) & (table.removed_version == version))
    return before, after


def _shown(tx: Transaction, stream: str) -> VisibleSegments:
    found: Stream = objects.get(tx, STREAMS, stream)
    return segment_tables.visible(tx, stream, Visibility(version=found.stream_version))
