"""What a task did to its stream, and what taking tasks out or putting them back would do."""

from collections.abc import Callable, Sequence

from headwater.catalog import objects, segments, streams, tasks
from headwater.catalog.database import Database
from headwater.catalog.objects import STREAMS, TASKS
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import VersionForgotten
from headwater.domain.stream import Counts, Seen, Stream, Visibility
from headwater.domain.task import Task, TaskFilter, require_unpurged
from headwater.lake.difference import Comparison, Difference, Moves, Operation
from headwater.lake.engine import Engine

#: What shows before, and what shows after.
Sides = tuple[Sequence[Seen], Sequence[Seen]]
#: A question to the catalog, which tells the two sides.
Question = Callable[[Transaction], Sides]


class Effects:
    """Tells what tasks did, and what actions on them would do."""

    def __init__(self, db: Database, engine: Engine) -> None:
        """Ask the catalog which files matter, and the engine what is in them."""
        self._db = db
        self._engine = engine

    async def counts(self, question: Question) -> Counts:
        """Return what becomes of documents from one side to the other, their texts compared."""
        return await self._engine.ask((await self._compared(question)).counts)

    async def moves(self, question: Question) -> Moves:
        """Return how many documents are shown by other versions on one side than on the other."""
        return await self._engine.ask((await self._compared(question)).moves)

    async def page(
        self, question: Question, operation: Operation, *, after: str | None, limit: int
    ) -> list[Difference]:
        """Return documents with which something happens from one side to the other, in id order."""
        comparison = await self._compared(question)
        return await self._engine.ask(comparison.page, operation, after=after, limit=limit)

    async def _compared(self, question: Question) -> Comparison:
        before, after = await self._db.read(question)
        return Comparison(self._engine, before, after)


def doing(tx: Transaction, fid: str) -> Sides:
    """Return what a stream showed without, and with, what the present attempt of a task brought.

    That is at the last version that the attempt made, beneath what later attempts brought: lines that
    were kept aside may come in long after it. A retry that ended well is compared with what its former
    attempts had left, which it replaced.

    Raises:
        NotFound: there is no such task.
        VersionForgotten: what the stream showed then is purged.
    """
    task = objects.get(tx, TASKS, fid)
    version = streams.made_by(tx, task)
    if version is None:
        return [], []
    stream: Stream = objects.get(tx, STREAMS, task.stream)
    replaced = streams.replaced_by(tx, task)
    # What a version replaced is purged with it, a version before what it shows.
    if not stream.remembers(version) or (replaced is not None and replaced <= stream.purged_version):
        raise VersionForgotten(
            f"what task {fid} did is purged: it made version {version} of its stream, of which what was before "
            f"version {stream.purged_version} is no longer kept; the task's summary still tells the counts"
        )
    shown = segments.visible(tx, task.stream, Visibility(version=version))
    top = max((one.segment.layer for one in shown if _is_of(one, task)), default=None)
    after = [one for one in shown if top is None or one.segment.layer <= top]
    others = [one for one in after if not _is_of(one, task)]
    gone = [] if replaced is None else segments.removed_at(tx, [task.fid], replaced)
    former = [one for one in gone if one.attempt != task.attempt]
    return [*others, *(Seen(segment=segment) for segment in former)], after


def _is_of(one: Seen, task: Task) -> bool:
    return (one.segment.task, one.segment.attempt) == (task.fid, task.attempt)


def deletion(tx: Transaction, fid: str) -> Sides:
    """Return what a task's stream shows, and what it would show if the task were deleted.

    Raises:
        NotFound: there is no such task.
    """
    task = objects.get(tx, TASKS, fid)
    return ([], []) if task.removed_at is not None else _without(tx, task.stream, [task])


def restoration(tx: Transaction, fid: str) -> Sides:
    """Return what a deleted task's stream shows, and what it would show if the task were restored.

    Raises:
        NotFound: there is no such task.
        TaskPurged: its documents are purged.
    """
    task = objects.get(tx, TASKS, fid)
    require_unpurged(task, objects.get(tx, STREAMS, task.stream))
    return ([], []) if task.removed_at is None else _with(tx, task.stream, [task])


def reversal(tx: Transaction, stream: str, wanted: TaskFilter) -> Sides:
    """Return what a stream shows, and what it would show if the tasks that a filter means were deleted.

    Raises:
        NotFound: there is no such stream.
        RequestInvalid: the filter names tasks that are none of it.
    """
    objects.get(tx, STREAMS, stream)
    return _without(tx, stream, tasks.matching(tx, stream, wanted, removed=False))


def recovery(tx: Transaction, stream: str, wanted: TaskFilter) -> Sides:
    """Return what a stream shows, and what it would show if the deleted tasks that a filter means were restored.

    Raises:
        NotFound: there is no such stream.
        RequestInvalid: the filter names tasks that are none of it.
    """
    back, _ = recoverable(tx, stream, wanted)
    return _with(tx, stream, back)


def recoverable(tx: Transaction, stream: str, wanted: TaskFilter) -> tuple[list[Task], list[Task]]:
    """Return the deleted tasks that a filter means: those that can come back, and those that are purged.

    Raises:
        NotFound: there is no such stream.
        RequestInvalid: the filter names tasks that are none of it.
    """
    found: Stream = objects.get(tx, STREAMS, stream)
    removed = tasks.matching(tx, stream, wanted, removed=True)
    purged = [task for task in removed if task.is_purged(found)]
    return [task for task in removed if not task.is_purged(found)], purged


def _without(tx: Transaction, stream: str, gone: Sequence[Task]) -> Sides:
    before = _shown(tx, stream)
    fids = {task.fid for task in gone}
    return before, [one for one in before if one.segment.task not in fids]


def _with(tx: Transaction, stream: str, back: Sequence[Task]) -> Sides:
    before = _shown(tx, stream)
    found = segments.removed_with(tx, back)
    return before, [*before, *(Seen(segment=segment) for segment in found)]


def _shown(tx: Transaction, stream: str) -> list[Seen]:
    found: Stream = objects.get(tx, STREAMS, stream)
    return segments.visible(tx, stream, Visibility(version=found.stream_version))
