"""Which segments exist, and which of them a stream shows at which of its versions."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, delete, func, insert, null, or_, select, text, update

from headwater.catalog import streams, tables
from headwater.catalog.transaction import Prepared, Transaction
from headwater.domain.errors import MovedMeanwhile
from headwater.domain.fid import new_fid
from headwater.domain.stream import Seen, Segment, Visibility, Written, inlined_path
from headwater.domain.task import Task

T = TypeVar("T")

_segments = tables.segments.c
_ALL = select(tables.segments)
_ADD = Prepared(insert(tables.segments))


def add(tx: Transaction, segment: Segment) -> None:
    """Store a new segment; from here on its file counts."""
    tx.run(_ADD, vars(segment))


def visible(
    tx: Transaction,
    stream: str,
    visibility: Visibility,
    *,
    holding: str | None = None,
    from_id: str | None = None,
) -> list[Seen]:
    """Return a stream's segments as a reader sees them, lowest layer first.

    With ``holding`` only those that may hold the document of that id, with ``from_id`` those that may
    hold one with that id or a higher one: files that cannot matter need not be opened.
    """
    wanted = _ALL.where(_segments.stream == stream, _visible_at(visibility.version)).order_by(_segments.layer)
    if visibility.without:
        wanted = wanted.where(_segments.task.not_in(sorted(visibility.without)))
    if holding is not None:
        wanted = wanted.where(_holds(holding))
    if from_id is not None:
        wanted = wanted.where(_segments.max_id >= from_id.encode())
    return [_seen(tx, segment, visibility.version) for segment in tx.values(wanted, Segment)]


def _seen(tx: Transaction, segment: Segment, version: int) -> Seen:
    if segment.whole_version is None or segment.whole_version <= version:
        return Seen(segment=segment)
    arrived = streams.arrived_by(tx, segment.task, segment.attempt, version=version)
    return Seen(segment=segment, until=arrived - segment.base)


def ever_holding(tx: Transaction, stream: str, doc_id: str) -> list[Segment]:
    """Return every segment of a stream that may hold a document, whether it shows or not."""
    return tx.values(_ALL.where(_segments.stream == stream, _holds(doc_id)).order_by(_segments.layer), Segment)


def of_attempt(tx: Transaction, task: Task) -> list[Segment]:
    """Return the segments of a task's present attempt in order of arrival."""
    of_it = (_segments.task == task.fid) & (_segments.attempt == task.attempt)
    found = tx.values(_ALL.where(of_it).order_by(_segments.base), Segment)
    # The segments of an attempt go and come back together, and each time that they were visible has rows of its
    # own: those that are in, or else those that went last, are all of it.
    last = max((_removal(segment) for segment in found), default=None)
    return [segment for segment in found if _removal(segment) == last]


def _removal(segment: Segment) -> float:
    return float("inf") if segment.removed_version is None else segment.removed_version


def shown(*tasks: str, but_attempt: int | None = None) -> ColumnElement[bool]:
    """Name the segments of tasks that their stream shows now; without those of one attempt if it is given."""
    of_them = _segments.task.in_(tasks)
    showing = of_them & _segments.added_version.is_not(None) & _segments.removed_version.is_(None)
    return showing if but_attempt is None else showing & (_segments.attempt != but_attempt)


def shown_by_attempt(task: Task) -> ColumnElement[bool]:
    """Name the segments of a task's present attempt that its stream shows now."""
    return shown(task.fid) & (_segments.attempt == task.attempt)


def waiting(task: Task) -> ColumnElement[bool]:
    """Name the segments of a task's present attempt that were never published."""
    return (_segments.task == task.fid) & (_segments.attempt == task.attempt) & _segments.added_version.is_(None)


#: Values that are bound in one statement: databases have a most.
MOST_BOUND = 5_000


def batched(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield values in parts that one statement can bind."""
    for start in range(0, len(values), MOST_BOUND):
        yield values[start : start + MOST_BOUND]


def docs_in(tx: Transaction, named: ColumnElement[bool]) -> int | None:
    """Return the number of document versions in the segments that are named; None if there are no such segments."""
    docs = tx.execute(select(func.sum(_segments.docs)).where(named)).scalar_one()
    return None if docs is None else int(docs)  # PostgreSQL's sums are decimals


def publish(tx: Transaction, named: ColumnElement[bool], *, version: int) -> None:
    """Make segments visible from a stream version on."""
    tx.execute(update(tables.segments).where(named).values(added_version=version))


def take_out(tx: Transaction, named: ColumnElement[bool], *, version: int) -> None:
    """Make segments invisible from a stream version on."""
    tx.execute(update(tables.segments).where(named).values(removed_version=version))


def removed_at(tx: Transaction, tasks: Collection[str], version: int) -> list[Segment]:
    """Return the segments of tasks that a stream version took out."""
    return tx.values(_ALL.where(_segments.task.in_(tasks), _segments.removed_version == version), Segment)


def removed_with(tx: Transaction, tasks: Sequence[Task]) -> list[Segment]:
    """Return the segments that went out of their stream when tasks were removed."""
    by_version: dict[int, list[str]] = {}
    for task in tasks:
        if task.removed_version is not None:
            by_version.setdefault(task.removed_version, []).append(task.fid)
    return [
        segment
        for version, fids in by_version.items()
        for some in batched(fids)
        for segment in removed_at(tx, some, version)
    ]


def put_back(tx: Transaction, found: Sequence[Segment], *, version: int, at: datetime) -> None:
    """Make segments visible again at their place in the order.

    They get new rows for the same files, so that what readers of former versions see stays true.
    """
    anew = {"added_version": version, "whole_version": None, "removed_version": None}
    for segment in found:
        add(tx, replace(segment, fid=new_fid(at), **anew))


def to_compact(tx: Transaction, *, limit: int, but: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Return attempts that have ended and are yet to be merged, ``(task, attempt)``, but for some tasks."""
    ended = tables.tasks.c.ended_at.is_not(None) | (tables.tasks.c.attempt != _segments.attempt)
    wanted = (
        select(_segments.task, _segments.attempt)
        .join(tables.tasks, tables.tasks.c.fid == _segments.task)
        .where(text(tables.UNSETTLED), _segments.removed_version.is_(None), ended)
        .where(_segments.added_version.is_not(None), _segments.task.not_in(but))
        .distinct()
        .limit(limit)
    )
    return [(row.task, row.attempt) for row in tx.execute(wanted)]


def crowded(
    tx: Transaction, *, more_than: int, limit: int, inlined: bool, but: Sequence[str] = ()
) -> list[tuple[str, int]]:
    """Return attempts of open tasks that have many files, or many segments without, but for some tasks.

    Each is ``(task, attempt)``.
    """
    tasks = tables.tasks.c
    # Begun with the open tasks, which are few.
    is_open = _segments.task.in_(select(tasks.fid).where(text(tables.OPEN), tasks.fid.not_in(but)))
    wanted = (
        select(_segments.task, _segments.attempt)
        .where(is_open, _segments.removed_version.is_(None))
        .where(_segments.path.startswith(inlined_path("")) == inlined)
        .group_by(_segments.task, _segments.attempt)
        .having(func.count() > more_than)
        .limit(limit)
    )
    return [(row.task, row.attempt) for row in tx.execute(wanted)]


def in_place(tx: Transaction, task: str, attempt: int) -> list[Segment]:
    """Return the segments of an attempt that nothing has taken out, in order of arrival."""
    wanted = _ALL.where(_segments.task == task, _segments.attempt == attempt, _segments.removed_version.is_(None))
    return tx.values(wanted.order_by(_segments.layer), Segment)


def settle(tx: Transaction, segment: Segment) -> None:
    """Keep that compaction has nothing to gain from a segment."""
    tx.execute(update(tables.segments).where(_segments.fid == segment.fid).values(is_compact=True))


def exchange(tx: Transaction, old: Sequence[Segment], new: Segment) -> None:
    """Let a merged segment take the place of others, which must still be as they were.

    No stream version comes of it, since nothing that anyone sees has changed.

    Raises:
        MovedMeanwhile: they have been published, taken out or merged meanwhile.
    """
    those = delete(tables.segments).where(_segments.fid.in_([segment.fid for segment in old]))
    names = ("fid", "path", "layer", "added_version", "whole_version", "removed_version")
    gone = {tuple(row) for row in tx.execute(those.returning(*(_segments[name] for name in names)))}
    if gone != {tuple(getattr(segment, name) for name in names) for segment in old}:
        raise MovedMeanwhile(f"the segments of task {new.task} were changed by somebody else meanwhile")
    add(tx, new)


def lowest_after(tx: Transaction, task: Task) -> int | None:
    """Return the lowest layer of what attempts brought to a task's stream that came after its present one.

    None if there is nothing.
    """
    of_it = (_segments.task == task.fid) & (_segments.attempt == task.attempt)
    own = tx.execute(select(func.max(_segments.layer)).where(of_it)).scalar_one()
    of_stream = _segments.stream == task.stream
    if own is not None:
        return tx.execute(select(func.min(_segments.layer)).where(of_stream, _segments.layer > own)).scalar_one()
    # Nothing of it lies anywhere yet. Attempts of a stream run one after the other.
    present, former = tables.tasks.c, tables.attempts.c
    is_later = or_(
        _begun_by(_segments.task == present.fid, present.attempt, present.started_at > task.started_at),
        _begun_by(_segments.task == former.task, former.attempt, former.started_at > task.started_at),
    )
    return tx.execute(select(func.min(_segments.layer)).where(of_stream, is_later)).scalar_one()


def _begun_by(
    of_it: ColumnElement[bool], attempt: ColumnElement[int], is_later: ColumnElement[bool]
) -> ColumnElement[bool]:
    return select(attempt).where(of_it, attempt == _segments.attempt, is_later).correlate(tables.segments).exists()


def purge(tx: Transaction, named: ColumnElement[bool]) -> tuple[int, list[str]]:
    """Forget segments for good; return how many document versions they held, and the files that nothing names now."""
    rows = tx.execute(delete(tables.segments).where(named).returning(_segments.path, _segments.docs)).all()
    docs = {row.path: row.docs for row in rows}
    gone = sorted(docs.keys() - {path for some in batched(list(docs)) for path in still_named(tx, some)})
    return sum(docs[path] for path in gone), gone


def removed_by(stream: str, version: int) -> ColumnElement[bool]:
    """Name the segments of a stream that a version, or an earlier one, took out."""
    return (_segments.stream == stream) & (_segments.removed_version <= version)


def never_to_show(before: datetime) -> ColumnElement[bool]:
    """Name the segments that waited for the success of an attempt that was over before a moment."""
    tasks = tables.tasks.c
    # What was replayed into it since it ended goes with the rest: a part of an attempt is nothing to let in.
    is_former = (tasks.attempt != _segments.attempt) & (_segments.created_at <= before)
    over = select(tasks.fid).where(tasks.fid == _segments.task, is_former | (tasks.ended_at <= before)).exists()
    return _segments.added_version.is_(None) & over


def rename(tx: Transaction, path: str, to: Written | None) -> None:
    """Let the rows that name a file name another one, or be gone where there is none."""
    rows = _segments.path == path
    if to is None:
        tx.execute(delete(tables.segments).where(rows))
        return
    values = {name: getattr(to, name) for name in ("path", "docs", "bytes", "min_id", "max_id")}
    tx.execute(update(tables.segments).where(rows).values(values))


def of_task(task: str) -> ColumnElement[bool]:
    """Name all segments of a task."""
    return _segments.task == task


def still_named(tx: Transaction, paths: Collection[str]) -> set[str]:
    """Return those of the paths that a segment names."""
    return set(tx.execute(select(_segments.path).where(_segments.path.in_(paths))).scalars())


def _visible_at(version: int) -> ColumnElement[bool]:
    return (_segments.added_version <= version) & or_(
        _segments.removed_version > version, _segments.removed_version == null()
    )


def _holds(doc_id: str) -> ColumnElement[bool]:
    return (_segments.min_id <= doc_id.encode()) & (_segments.max_id >= doc_id.encode())
