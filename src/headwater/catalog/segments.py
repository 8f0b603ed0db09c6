"""Segments: how they are added, published, removed, merged and purged."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, text, update

from headwater.catalog import events, streams, tables
from headwater.catalog.core.prepared_statement import PreparedStatement
from headwater.catalog.core.transaction import Transaction, batched
from headwater.domain.errors import MovedMeanwhile
from headwater.domain.event import damage
from headwater.domain.ids import new_fid
from headwater.domain.stream import FLOORS, Segment, WrittenSegment, floor_path, inlined_path, is_floor
from headwater.domain.task import Task

_segments = tables.segments.c
_ALL = select(tables.segments)
_ADD = PreparedStatement(insert(tables.segments))


def add(tx: Transaction, segment: Segment, *, layout: int = 0) -> None:
    """Store a new segment; from the commit on, its file counts.

    It gets a ``layout`` if no stream version tells readers of it.
    """
    if segment.removed_version is not None:
        layout = streams.relaid(tx, segment.stream)  # both of its versions are in the past
    tx.add(_ADD, {**vars(segment), "layout": layout})


def attempt_of(tx: Transaction, fid: str) -> int | None:
    """Return the attempt of a segment, or None if it is gone."""
    return tx.execute(select(_segments.attempt).where(_segments.fid == fid)).scalar_one_or_none()


def of_attempt(tx: Transaction, task: Task) -> list[Segment]:
    """Return the segments of a task's current attempt in order of arrival, without its floor."""
    return [segment for segment in held_by_attempt(tx, task) if not segment.is_floor]


def held_by_attempt(tx: Transaction, task: Task) -> list[Segment]:
    """Return the segments of a task's current attempt in order of arrival, and its floor if it has one."""
    matches = (_segments.task == task.fid) & (_segments.attempt == task.attempt)
    found = tx.values(_ALL.where(matches).order_by(_segments.base), Segment)
    # The segments of an attempt are removed and restored together, and each period of visibility has its own rows:
    # the rows that are still in, or else those removed last, are the whole attempt.
    last = max((_removal(segment) for segment in found), default=None)
    return [segment for segment in found if _removal(segment) == last]


def _removal(segment: Segment) -> float:
    return float("inf") if segment.removed_version is None else segment.removed_version


def shown(*tasks: str, but_attempt: int | None = None) -> ColumnElement[bool]:
    """Select the segments of tasks that their stream shows now; without those of one attempt if it is given."""
    of_them = _segments.task.in_(tasks)
    showing = of_them & _segments.added_version.is_not(None) & _segments.removed_version.is_(None)
    return showing if but_attempt is None else showing & (_segments.attempt != but_attempt)


def shown_by_attempt(task: Task) -> ColumnElement[bool]:
    """Select the segments of a task's current attempt that its stream shows now."""
    return shown(task.fid) & (_segments.attempt == task.attempt)


def waiting(task: Task) -> ColumnElement[bool]:
    """Select the segments of a task's current attempt that were never published."""
    return (_segments.task == task.fid) & (_segments.attempt == task.attempt) & _segments.added_version.is_(None)


def docs_in(tx: Transaction, named: ColumnElement[bool]) -> int | None:
    """Return the number of document versions in the selected segments; None if there are no such segments."""
    docs = tx.execute(select(func.sum(_segments.docs)).where(named)).scalar_one()
    return None if docs is None else int(docs)  # sums are decimals on PostgreSQL


def publish(tx: Transaction, named: ColumnElement[bool], *, version: int) -> None:
    """Make segments visible from a stream version on."""
    tx.execute(update(tables.segments).where(named).values(added_version=version))


def take_out(tx: Transaction, named: ColumnElement[bool], *, version: int) -> None:
    """Make segments invisible from a stream version on."""
    tx.execute(update(tables.segments).where(named).values(removed_version=version))


def removed_at(tx: Transaction, tasks: Collection[str], version: int) -> list[Segment]:
    """Return the segments of tasks that a stream version removed."""
    return tx.values(_ALL.where(_segments.task.in_(tasks), _segments.removed_version == version), Segment)


def removed_with(tx: Transaction, tasks: Sequence[Task]) -> list[Segment]:
    """Return the segments that were removed from their stream when tasks were deleted."""
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
    """Make segments visible again in their layers.

    They get new rows for the same files, so that former stream versions still read the same.
    """
    anew = {"added_version": version, "whole_version": None, "removed_version": None}
    for segment in found:
        add(tx, replace(segment, fid=new_fid(at), **anew))


def add_floor(tx: Transaction, task: Task, *, at: datetime) -> None:
    """Add the floor of a snapshot run, beneath the segments of its current attempt.

    It hides all lower layers while it is visible. It is published, removed and restored with the segments of its
    attempt; until then, no reader sees it.
    """
    matches = (_segments.task == task.fid) & (_segments.attempt == task.attempt)
    lowest = tx.execute(select(func.min(_segments.layer)).where(matches)).scalar_one()
    fid = new_fid(at)
    floor = Segment(
        fid=fid,
        stream=task.stream,
        task=task.fid,
        attempt=task.attempt,
        layer=streams.top_layer(tx, task.stream) if lowest is None else lowest,
        path=floor_path(fid),
        docs=0,
        bytes=0,
        min_id=b"",
        max_id=b"",
        base=0,
        is_compact=True,
        scope=task.scope,
        added_version=None,
        removed_version=None,
        created_at=at,
    )
    add(tx, floor)


def withhold_floor(tx: Transaction, task: Task, *, version: int) -> None:
    """Mark the floor of an attempt that is not published as removed with its segments, by a stream version."""
    rows = update(tables.segments).where(waiting(task), _segments.path.startswith(FLOORS))
    tx.execute(rows.values(added_version=version, removed_version=version))


def to_compact(tx: Transaction, *, limit: int, but: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Return attempts that have ended and are not merged yet, ``(task, attempt)``, except those of some tasks."""
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
    """Return attempts of open tasks with too many files, or too many inlined segments, except those of some tasks.

    Each is ``(task, attempt)``.
    """
    tasks = tables.tasks.c
    # The query starts from the open tasks, which are few.
    is_open = _segments.task.in_(select(tasks.fid).where(text(tables.OPEN), tasks.fid.not_in(but)))
    wanted = (
        select(_segments.task, _segments.attempt)
        .where(is_open, _segments.removed_version.is_(None))
        .where(_segments.path.startswith(inlined_path("")) == inlined, ~_segments.path.startswith(FLOORS))
        .group_by(_segments.task, _segments.attempt)
        .having(func.count() > more_than)
        .limit(limit)
    )
    return [(row.task, row.attempt) for row in tx.execute(wanted)]


def in_place(tx: Transaction, task: str, attempt: int) -> list[Segment]:
    """Return the segments of an attempt that were not removed, in order of arrival."""
    wanted = _ALL.where(_segments.task == task, _segments.attempt == attempt, _segments.removed_version.is_(None))
    found = tx.values(wanted.order_by(_segments.layer), Segment)
    return [segment for segment in found if not segment.is_floor]


def settle(tx: Transaction, found: Sequence[Segment]) -> None:
    """Record that compaction has nothing to gain from segments of one stream."""
    if not found:
        return
    rows = _segments.fid.in_([segment.fid for segment in found])
    tx.execute(update(tables.segments).where(rows).values(is_compact=True, layout=streams.relaid(tx, found[0].stream)))


@dataclass(frozen=True, kw_only=True)
class FoldedRow:
    """Segments that become one part of a folded file: one segment, or several of one attempt, in order of arrival."""

    segments: Sequence[Segment]
    #: The new values of its columns.
    changes: Mapping[str, Any]


def require_unmoved(tx: Transaction, sources: Sequence[Sequence[Segment]]) -> None:
    """Raise unless segments are still where they were; of several that are merged, all must be as they were.

    Raises:
        MovedMeanwhile: they are not.
    """
    paths = sorted({segment.path for some in sources for segment in some})
    named = {part for some in batched(paths) for part in _parts_of(tx, some)}
    if any((segment.path, segment.part) not in named for some in sources for segment in some):
        raise MovedMeanwhile("some segments were moved, erased or purged meanwhile")
    together = {segment.fid: segment for some in sources if len(some) > 1 for segment in some}
    names = ("fid", "path", "layer", "added_version", "whole_version", "removed_version")
    found: set[tuple[Any, ...]] = set()
    for fids in batched(list(together)):
        wanted = select(*(_segments[name] for name in names)).where(_segments.fid.in_(fids))
        found |= {tuple(row) for row in tx.execute(wanted)}
    # A restore adds rows for the same files.
    beside = [path for some in batched(sorted({one.path for one in together.values()})) for path in _rows_at(tx, some)]
    if found != {tuple(getattr(one, name) for name in names) for one in together.values()} or len(beside) > len(
        together
    ):
        raise MovedMeanwhile("some segments were published, removed or restored meanwhile")


def _rows_at(tx: Transaction, paths: Sequence[str]) -> list[str]:
    return list(tx.execute(select(_segments.fid).where(_segments.path.in_(paths))).scalars())


def move(tx: Transaction, rows: Sequence[FoldedRow], *, layout: int) -> None:
    """Point the rows of segments to a folded file; of several that are merged, the first one stays.

    This makes no stream version, since no reader sees a difference.
    """
    for row in rows:
        first = row.segments[0]
        there = (_segments.path == first.path) & (_segments.part == first.part)
        tx.execute(update(tables.segments).where(there).values(**row.changes, layout=layout))
    gone = [segment.fid for row in rows for segment in row.segments[1:]]
    for some in batched(gone):
        tx.execute(delete(tables.segments).where(_segments.fid.in_(some)))


def exchange(tx: Transaction, old: Sequence[Segment], new: Segment) -> None:
    """Replace segments, which must be unchanged, by a merged one.

    This makes no stream version, since no reader sees a difference.

    Raises:
        MovedMeanwhile: they were published, removed or merged meanwhile.
    """
    those = delete(tables.segments).where(_segments.fid.in_([segment.fid for segment in old]))
    names = ("fid", "path", "layer", "added_version", "whole_version", "removed_version")
    gone = {tuple(row) for row in tx.execute(those.returning(*(_segments[name] for name in names)))}
    if gone != {tuple(getattr(segment, name) for name in names) for segment in old}:
        raise MovedMeanwhile(f"the segments of task {new.task} were changed by somebody else meanwhile")
    add(tx, new, layout=streams.relaid(tx, new.stream))


def lowest_after(tx: Transaction, task: Task) -> int | None:
    """Return the lowest layer of attempts that came to the task's stream after its current one.

    None if there is none.
    """
    matches = (_segments.task == task.fid) & (_segments.attempt == task.attempt)
    own = tx.execute(select(func.max(_segments.layer)).where(matches)).scalar_one()
    of_stream = _segments.stream == task.stream
    if own is not None:
        return tx.execute(select(func.min(_segments.layer)).where(of_stream, _segments.layer > own)).scalar_one()
    # The attempt has no segment yet. Attempts of a stream run one after the other.
    present, former = tables.tasks.c, tables.attempts.c
    is_later = or_(
        _begun_by(_segments.task == present.fid, present.attempt, present.started_at > task.started_at),
        _begun_by(_segments.task == former.task, former.attempt, former.started_at > task.started_at),
    )
    return tx.execute(select(func.min(_segments.layer)).where(of_stream, is_later)).scalar_one()


def _begun_by(
    matches: ColumnElement[bool], attempt: ColumnElement[int], is_later: ColumnElement[bool]
) -> ColumnElement[bool]:
    return select(attempt).where(matches, attempt == _segments.attempt, is_later).correlate(tables.segments).exists()


def purge(tx: Transaction, named: ColumnElement[bool]) -> tuple[int, list[str]]:
    """Delete segments for good; return how many document versions they held, and the files that no row names now."""
    columns = (_segments.stream, _segments.path, _segments.part, _segments.docs)
    rows = tx.execute(delete(tables.segments).where(named).returning(*columns)).all()
    for stream in sorted({row.stream for row in rows}):
        streams.relaid(tx, stream, has_lost_rows=True)
    docs = {(row.path, row.part): row.docs for row in rows}
    paths = sorted({row.path for row in rows})
    left = {part for some in batched(paths) for part in _parts_of(tx, some)}
    named_paths = {path for path, _ in left}
    gone = [path for path in paths if path not in named_paths and not is_floor(path)]
    return sum(count for part, count in docs.items() if part not in left), gone


def _parts_of(tx: Transaction, paths: Collection[str]) -> list[tuple[str, int]]:
    """Return the parts of files that a segment names."""
    wanted = select(_segments.path, _segments.part).where(_segments.path.in_(paths)).distinct()
    return [(row.path, row.part) for row in tx.execute(wanted)]


def removed_by(stream: str, version: int) -> ColumnElement[bool]:
    """Select the segments of a stream that were removed at a version or before it."""
    return (_segments.stream == stream) & (_segments.removed_version <= version)


def never_to_show(before: datetime) -> ColumnElement[bool]:
    """Select the unpublished segments of attempts that ended before a time."""
    tasks = tables.tasks.c
    # Lines replayed into it since it ended go with the rest: a part of an attempt must not be published.
    is_former = (tasks.attempt != _segments.attempt) & (_segments.created_at <= before)
    over = select(tasks.fid).where(tasks.fid == _segments.task, is_former | (tasks.ended_at <= before)).exists()
    return _segments.added_version.is_(None) & over


def rename(tx: Transaction, stream: str, path: str, to: WrittenSegment | None, *, erased: Mapping[int, int]) -> None:
    """Point the rows that name a file to another one, without some documents, or delete them if ``to`` is None.

    ``erased`` counts the documents that went from each part of the file.
    """
    rows = _segments.path == path
    layout = streams.relaid(tx, stream, has_lost_rows=to is None)
    if to is None:
        tx.execute(delete(tables.segments).where(rows))
        return
    values = {"path": to.path, "digest": to.digest, "size": to.size, "damaged_at": None, "layout": layout}
    for part, docs in erased.items():
        if part == 0:
            values |= {name: getattr(to, name) for name in ("docs", "bytes", "min_id", "max_id")}
        else:
            less = update(tables.segments).where(rows, _segments.part == part)
            tx.execute(less.values(docs=_segments.docs - docs))
    tx.execute(update(tables.segments).where(rows).values(values))


def mark_damaged(tx: Transaction, path: str, at: datetime | None) -> None:
    """Record since when the segments at a path are damaged, or with None that they are intact again."""
    named = _segments.path == path
    stream = tx.execute(select(_segments.stream).where(named).limit(1)).scalar_one_or_none()
    if stream is None:
        return
    changing = _segments.damaged_at.is_not(None) if at is None else _segments.damaged_at.is_(None)
    tasks = tx.execute(select(_segments.task).distinct().where(named, changing).limit(2)).scalars().all()
    if not tasks:
        return
    rows = update(tables.segments).where(named, changing)
    tx.execute(rows.values(damaged_at=at, layout=streams.relaid(tx, stream)))
    if at is not None:
        # A folded file is of many tasks.
        events.append(tx, damage(path, stream=stream, task=tasks[0] if len(tasks) == 1 else None, at=at))


def of_task(task: str) -> ColumnElement[bool]:
    """Select all segments of a task."""
    return _segments.task == task


def still_named(tx: Transaction, paths: Collection[str]) -> set[str]:
    """Return those of the paths that a segment names."""
    return set(tx.execute(select(_segments.path).where(_segments.path.in_(paths))).scalars())
