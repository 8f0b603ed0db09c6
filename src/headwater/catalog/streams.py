"""A stream's counters, its log, and its number of documents."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, insert, literal, select, union_all, update

from headwater.catalog import events, tables
from headwater.catalog.core.prepared_statement import PreparedStatement
from headwater.catalog.core.steps import Call, Steps, Turn
from headwater.catalog.core.transaction import Transaction, batched
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import NotFound
from headwater.domain.event import stream_event
from headwater.domain.stream import ARRIVALS, LETTING_IN, Change, Erasure, LogEntry, Stream
from headwater.domain.task import Publish, Task

_streams = tables.streams.c
_log = tables.stream_log.c
_crawlers = tables.crawlers.c

#: Lines of a log that are read at a time to find how far a page of changes reaches.
STEPS = 500

#: Published when a stream has a new version.
CHANGED = "streams"

_COUNT_UP = PreparedStatement(
    update(tables.streams)
    .where(_streams.fid == bindparam("of"))
    .values(
        top_layer=_streams.top_layer + bindparam("layers"),
        stream_version=_streams.stream_version + bindparam("versions"),
    )
    .returning(_streams.top_layer, _streams.stream_version)
)
_ADD_TO_LOG = PreparedStatement(insert(tables.stream_log))


def put_on_top(tx: Transaction, task: Task, *, docs: int, at: datetime) -> Steps[tuple[int, int | None]]:
    """Allocate the next layer of a task's stream, above all others, for an upload of ``docs`` documents.

    Returns the layer, and the stream version that shows it at once; None if the documents are published on
    success only.
    """
    live = task.publish is Publish.LIVE
    values = {"of": task.stream, "layers": 1, "versions": int(live)}
    (counted,) = yield [Call(statement=_COUNT_UP, values=values, turn=Turn.STREAMS, locks=task.stream)]
    if counted is None:
        raise _there_is_none(task.stream)
    layer, version = counted
    if not live:
        return layer, None
    _append(tx, _entry_of(task, Change.UPLOAD, version=version, docs=docs, at=at), crawler=task.crawler)
    return layer, version


def make_room(tx: Transaction, task: Task, *, above: int | None) -> int:
    """Allocate the layer for more documents of an attempt that has ended: below those of all later attempts.

    ``above`` is the lowest layer of those, which move up by one; None if there are none. Only the order of layers
    matters, so that no reader sees a difference.
    """
    top, _ = _count_up(tx, task.stream, layers=1, versions=0)
    if above is None:
        return top
    segments = tables.segments.c
    moved = update(tables.segments).where(segments.stream == task.stream, segments.layer >= above)
    tx.execute(moved.values(layer=segments.layer + 1, layout=relaid(tx, task.stream)))
    return above


def top_layer(tx: Transaction, stream: str) -> int:
    """Allocate the next layer of a stream, above all others, for a run that brought no documents."""
    layer, _ = _count_up(tx, stream, layers=1, versions=0)
    return layer


def relaid(tx: Transaction, stream: str, *, count: int = 1, has_lost_rows: bool = False) -> int:
    """Begin a stream's next layout, after changes of its segments that readers must know though no version tells them.

    The changed rows get its number; ``has_lost_rows`` means that others were deleted. With a ``count``, that many
    numbers are taken, and the last is returned.
    """
    values: dict[str, Any] = {"layout": _streams.layout + count}
    if has_lost_rows:
        values["layout_reset"] = _streams.layout + count
    changed = update(tables.streams).where(_streams.fid == stream).values(values).returning(_streams.layout)
    layout = tx.execute(changed).scalar_one_or_none()
    if layout is None:
        raise _there_is_none(stream)
    return layout


def states(tx: Transaction) -> dict[str, tuple[int, int]]:
    """Return the version and the layout of every stream."""
    wanted = select(_streams.fid, _streams.stream_version, _streams.layout)
    return {row.fid: (row.stream_version, row.layout) for row in tx.execute(wanted)}


def purged_versions(tx: Transaction) -> dict[str, int]:
    """Return the first readable version of each stream of which former ones are purged."""
    wanted = select(_streams.fid, _streams.purged_version).where(_streams.purged_version > 0)
    return {row.fid: row.purged_version for row in tx.execute(wanted)}


def advance(tx: Transaction, task: Task, change: Change, *, docs: int, at: datetime) -> int:
    """Begin the next version of a task's stream, log the change, and return it."""
    _, version = _count_up(tx, task.stream, layers=0, versions=1)
    _append(tx, _entry_of(task, change, version=version, docs=docs, at=at), crawler=task.crawler)
    return version


def advance_together(
    tx: Transaction, stream: str, change: Change, *, tasks: Sequence[str] | None, docs: int, at: datetime
) -> int:
    """Begin a stream's next version for several tasks, or for none; log the change, and return it."""
    _, version = _count_up(tx, stream, layers=0, versions=1)
    together = None if tasks is None else list(tasks)
    crawler = tx.execute(select(_crawlers.fid).where(_crawlers.stream == stream)).scalar_one_or_none()
    entry = LogEntry(stream=stream, version=version, at=at, change=change, tasks=together, docs=docs)
    _append(tx, entry, crawler=crawler)
    return version


def _count_up(tx: Transaction, stream: str, *, layers: int, versions: int) -> tuple[int, int]:
    counted = tx.run(_COUNT_UP, {"of": stream, "layers": layers, "versions": versions})
    if counted is None:
        raise _there_is_none(stream)
    return counted[0], counted[1]


def _there_is_none(stream: str) -> NotFound:
    return NotFound(f"there is no stream {stream!r}")


def _entry_of(task: Task, change: Change, *, version: int, docs: int, at: datetime) -> LogEntry:
    return LogEntry(
        stream=task.stream, version=version, at=at, change=change, task=task.fid, attempt=task.attempt, docs=docs
    )


def _append(tx: Transaction, entry: LogEntry, *, crawler: str | None) -> None:
    tx.add(_ADD_TO_LOG, vars(entry))
    tx.publish(CHANGED)
    events.append(tx, stream_event(entry, crawler=crawler))


def log(tx: Transaction, stream: str, *, before: int | None, limit: int) -> list[LogEntry]:
    """Return entries of a stream's log older than the version ``before``, newest first."""
    wanted = select(tables.stream_log).where(_log.stream == stream).order_by(_log.version.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(_log.version < before)
    return tx.values(wanted, LogEntry)


def arrivals(tx: Transaction, task: str, attempt: int) -> list[LogEntry]:
    """Return the log entries of an attempt's uploads and of its publication, oldest first."""
    matches = (_log.task == task) & (_log.attempt == attempt) & _log.change.in_(ARRIVALS | LETTING_IN)
    return tx.values(select(tables.stream_log).where(matches).order_by(_log.version), LogEntry)


def arrivals_of(tx: Transaction, tasks: Collection[str]) -> dict[tuple[str, int], list[LogEntry]]:
    """Return the same of every attempt of tasks, by task and attempt, in few queries."""
    entries = select(tables.stream_log).where(_log.change.in_(ARRIVALS | LETTING_IN)).order_by(_log.version)
    found: dict[tuple[str, int], list[LogEntry]] = {}
    for some in batched(list(tasks)):
        for entry in tx.values(entries.where(_log.task.in_(some)), LogEntry):
            if entry.task is not None and entry.attempt is not None:
                found.setdefault((entry.task, entry.attempt), []).append(entry)
    return found


def arrived_by(tx: Transaction, task: str, attempt: int, *, version: int) -> int:
    """Return how many documents of a published attempt had arrived by a stream version."""
    matches = (_log.task == task) & (_log.attempt == attempt)
    let_in = tx.execute(select(func.max(_log.version)).where(matches, _log.change.in_(LETTING_IN))).scalar_one()
    arrived = matches & _log.change.in_(ARRIVALS)
    # Former attempts from before their counts were stored came by visible uploads.
    total = docs_of(tx, task, attempt)
    if total is None or let_in is None or let_in > version:
        return _sum_of_docs(tx, arrived & (_log.version <= version))
    # Counted from the end: the log has no entries for unpublished uploads.
    return total - _sum_of_docs(tx, arrived & (_log.version > version))


def arrival_steps(tx: Transaction, task: str, attempt: int, *, since: int, until: int) -> list[tuple[int, int]]:
    """Return how many documents of a published attempt had arrived by ``since``, and by each later version.

    Of those before ``until``, only versions that the attempt made.
    """
    matches = (_log.task == task) & (_log.attempt == attempt) & (_log.version > since) & (_log.version < until)
    made = select(_log.version).where(matches, _log.change.in_(ARRIVALS | LETTING_IN)).order_by(_log.version)
    versions = [since, *tx.execute(made).scalars()]
    return [(version, arrived_by(tx, task, attempt, version=version)) for version in versions]


def _sum_of_docs(tx: Transaction, named: ColumnElement[bool]) -> int:
    return int(tx.execute(select(func.coalesce(func.sum(_log.docs), 0)).where(named)).scalar_one())


def docs_of(tx: Transaction, task: str, attempt: int) -> int | None:
    """Return how many documents and deletions an attempt uploaded; None if that is not known any more."""
    present, former = tables.tasks.c, tables.attempts.c
    wanted = union_all(
        select(present.docs + present.deleted).where(present.fid == task, present.attempt == attempt),
        select(former.docs + former.deleted).where(former.task == task, former.attempt == attempt),
    )
    return tx.execute(wanted).scalars().first()


def made_by(tx: Transaction, task: Task) -> int | None:
    """Return the last stream version that the current attempt of a task made; None if it changed nothing."""
    return tx.execute(made_by_attempt(literal(task.fid), literal(task.attempt))).scalar_one()


def made_by_attempt(task: ColumnElement[str], attempt: ColumnElement[int]) -> Select[Any]:
    """Select the last stream version that an attempt made."""
    own = ARRIVALS | LETTING_IN | {Change.WITHHOLD}
    return select(func.max(_log.version)).where(_log.task == task, _log.attempt == attempt, _log.change.in_(own))


def replaced_by_attempt(task: ColumnElement[str], attempt: ColumnElement[int]) -> Select[Any]:
    """Select the stream version at which an attempt replaced former ones."""
    return _last(task, attempt, Change.REPLACE)


def replaced_by(tx: Transaction, task: Task) -> int | None:
    """Return the stream version at which a task's current attempt replaced former ones; None if it did not."""
    return tx.execute(replaced_by_attempt(literal(task.fid), literal(task.attempt))).scalar_one()


def withheld_by(tx: Transaction, task: Task) -> int | None:
    """Return the stream version at which a gate removed a task's current attempt; None if it did not."""
    return tx.execute(_last(literal(task.fid), literal(task.attempt), Change.WITHHOLD)).scalar_one()


def _last(task: ColumnElement[str], attempt: ColumnElement[int], change: Change) -> Select[Any]:
    return select(func.max(_log.version)).where(_log.task == task, _log.attempt == attempt, _log.change == change)


def within(tx: Transaction, stream: str, *, since: int, until: int, docs: int) -> int:
    """Return the last version up to ``until`` by which at most ``docs`` document versions were added and removed.

    It is at least the one after ``since``: the changes of one version are not divided.
    """
    reached, moved = since, 0
    while steps := _steps(tx, stream, since=reached, until=until):
        for version, docs_moved in steps:
            moved += docs_moved
            if moved > docs and reached > since:
                return reached
            reached = version
            if moved >= docs:
                return reached
    return reached


def _steps(tx: Transaction, stream: str, *, since: int, until: int) -> list[tuple[int, int]]:
    """Return the next versions of a stream and how many document versions each moved, ``STEPS`` of them at most.

    A long log is read only as far as it is needed.
    """
    behind = (_log.stream == stream) & (_log.version > since) & (_log.version <= until)
    wanted = select(_log.version, _log.docs).where(behind).order_by(_log.version).limit(STEPS)
    return [(row.version, row.docs) for row in tx.execute(wanted)]


def changes_at(tx: Transaction, stream: str, versions: Collection[int]) -> dict[int, Change]:
    """Return the changes that versions of a stream made, by version."""
    rows = tx.execute(select(_log.version, _log.change).where(_log.stream == stream, _log.version.in_(versions)))
    return {row.version: Change(row.change) for row in rows}


def entries_at(tx: Transaction, stream: str, versions: Collection[int]) -> dict[int, LogEntry]:
    """Return the log entries of versions of a stream, by version."""
    entries = select(tables.stream_log).where(_log.stream == stream)
    found = (
        entry
        for some in batched(sorted(versions))
        for entry in tx.values(entries.where(_log.version.in_(some)), LogEntry)
    )
    return {entry.version: entry for entry in found}


def began_at(tx: Transaction, stream: str, version: int) -> datetime | None:
    """Return when a stream reached a version; None if it was created with it."""
    return tx.execute(select(_log.at).where(_log.stream == stream, _log.version == version)).scalar_one_or_none()


def layouts(tx: Transaction, fids: Sequence[str]) -> dict[str, int]:
    """Return the layout of each of some streams that exist."""
    found: dict[str, int] = {}
    for some in batched(fids):
        rows = tx.execute(select(_streams.fid, _streams.layout).where(_streams.fid.in_(some)))
        found |= {row.fid: row.layout for row in rows}
    return found


def to_purge(tx: Transaction, *, before: datetime) -> list[tuple[str, int]]:
    """Return streams with versions older than ``before``, and the version that each had then."""
    stood = func.max(_log.version)
    wanted = (
        select(_log.stream, stood.label("version"))
        .join(tables.streams, _streams.fid == _log.stream)
        .where(_log.at <= before, _log.version > _streams.purged_version)
        .group_by(_log.stream)
        .order_by(_log.stream)
    )
    return [(row.stream, row.version) for row in tx.execute(wanted)]


def purged(tx: Transaction, stream: str, *, version: int) -> None:
    """Record that versions before this one are no longer readable, and delete the erased ids before it."""
    tx.execute(
        update(tables.streams)
        .where(_streams.fid == stream, _streams.purged_version < version)
        .values(purged_version=version)
    )
    erasures = tables.erasures.c
    tx.execute(delete(tables.erasures).where(erasures.stream == stream, erasures.version <= version))


def erased(tx: Transaction, erasure: Erasure) -> None:
    """Record that a version erased a document."""
    tx.execute(insert(tables.erasures).values(asdict(erasure)))


def erasures(tx: Transaction, stream: str, *, since: int, until: int) -> list[Erasure]:
    """Return the erasures after a version, up to another, in order."""
    columns = tables.erasures.c
    wanted = select(tables.erasures).where(columns.stream == stream, columns.version > since, columns.version <= until)
    return tx.values(wanted.order_by(columns.version), Erasure)


def forget_log(tx: Transaction, stream: str) -> None:
    """Delete a stream's log, with the stream."""
    tx.execute(delete(tables.stream_log).where(_log.stream == stream))


def uncounted(tx: Transaction, *, limit: int, but: Sequence[str] = ()) -> list[Stream]:
    """Return streams that have changed since their documents were counted, except some."""
    is_uncounted = _streams.docs_version < _streams.stream_version
    wanted = STREAMS.rows.where(is_uncounted, _streams.fid.not_in(but)).order_by(_streams.fid).limit(limit)
    return tx.values(wanted, Stream)


def counted(tx: Transaction, stream: str, *, docs: int, version: int) -> None:
    """Store the number of documents in a stream at a version, unless a later count is stored."""
    tx.execute(
        update(tables.streams)
        .where(_streams.fid == stream, _streams.docs_version < version)
        .values(docs=docs, docs_version=version)
    )
