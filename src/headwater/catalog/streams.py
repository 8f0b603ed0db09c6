"""A stream's counters, its log, and how many documents it shows."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, insert, literal, select, union_all, update

from headwater.catalog import events, tables
from headwater.catalog.objects import STREAMS
from headwater.catalog.transaction import Prepared, Transaction
from headwater.domain.errors import NotFound
from headwater.domain.event import stream_event
from headwater.domain.stream import ARRIVALS, LETTING_IN, Change, Erasure, LogEntry, Stream
from headwater.domain.task import Publish, Task

_streams = tables.streams.c
_log = tables.stream_log.c
_crawlers = tables.crawlers.c

#: Announced when a stream shows something else than before.
CHANGED = "streams"

_COUNT_UP = Prepared(
    update(tables.streams)
    .where(_streams.fid == bindparam("of"))
    .values(
        top_layer=_streams.top_layer + bindparam("layers"),
        stream_version=_streams.stream_version + bindparam("versions"),
    )
    .returning(_streams.top_layer, _streams.stream_version)
)
_ADD_TO_LOG = Prepared(insert(tables.stream_log))


def put_on_top(tx: Transaction, task: Task, *, docs: int, at: datetime) -> tuple[int, int | None]:
    """Give out the next layer of a task's stream, on top of all others, for an upload of so many documents.

    Returns the layer, and the stream version that shows it at once; None if the task's documents wait
    for its success.
    """
    live = task.publish is Publish.LIVE
    layer, version = _count_up(tx, task.stream, layers=1, versions=int(live))
    if not live:
        return layer, None
    _tell(tx, _entry_of(task, Change.UPLOAD, version=version, docs=docs, at=at), crawler=task.crawler)
    return layer, version


def make_room(tx: Transaction, task: Task, *, above: int | None) -> int:
    """Give out the layer on which documents of an attempt that is over lie: below all that later attempts brought.

    ``above`` is the lowest layer of those, which move up by one; None if there are none. Only their order
    means something, so that nothing that anyone sees changes.
    """
    top, _ = _count_up(tx, task.stream, layers=1, versions=0)
    if above is None:
        return top
    segments = tables.segments.c
    moved = update(tables.segments).where(segments.stream == task.stream, segments.layer >= above)
    tx.execute(moved.values(layer=segments.layer + 1))
    return above


def advance(tx: Transaction, task: Task, change: Change, *, docs: int, at: datetime) -> int:
    """Begin the next version of a task's stream, log what makes it, and return it."""
    _, version = _count_up(tx, task.stream, layers=0, versions=1)
    _tell(tx, _entry_of(task, change, version=version, docs=docs, at=at), crawler=task.crawler)
    return version


def advance_together(
    tx: Transaction, stream: str, change: Change, *, tasks: Sequence[str] | None, docs: int, at: datetime
) -> int:
    """Begin a stream's next version, which several tasks make together, or none; log that, and return it."""
    _, version = _count_up(tx, stream, layers=0, versions=1)
    together = None if tasks is None else list(tasks)
    crawler = tx.execute(select(_crawlers.fid).where(_crawlers.stream == stream)).scalar_one_or_none()
    entry = LogEntry(stream=stream, version=version, at=at, change=change, tasks=together, docs=docs)
    _tell(tx, entry, crawler=crawler)
    return version


def _count_up(tx: Transaction, stream: str, *, layers: int, versions: int) -> tuple[int, int]:
    counted = tx.run(_COUNT_UP, {"of": stream, "layers": layers, "versions": versions})
    if counted is None:
        raise NotFound(f"there is no stream {stream!r}")
    return counted[0], counted[1]


def _entry_of(task: Task, change: Change, *, version: int, docs: int, at: datetime) -> LogEntry:
    return LogEntry(
        stream=task.stream, version=version, at=at, change=change, task=task.fid, attempt=task.attempt, docs=docs
    )


def _tell(tx: Transaction, entry: LogEntry, *, crawler: str | None) -> None:
    tx.run(_ADD_TO_LOG, vars(entry))
    tx.announce(CHANGED)
    events.tell(tx, stream_event(entry, crawler=crawler))


def log(tx: Transaction, stream: str, *, before: int | None, limit: int) -> list[LogEntry]:
    """Return lines of a stream's log, newest first, older than the version ``before``."""
    wanted = select(tables.stream_log).where(_log.stream == stream).order_by(_log.version.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(_log.version < before)
    return tx.values(wanted, LogEntry)


def arrivals(tx: Transaction, task: str, attempt: int) -> list[LogEntry]:
    """Return the lines of a log that tell of the arrivals of an attempt as they came, or let it in, oldest first."""
    of_it = (_log.task == task) & (_log.attempt == attempt) & _log.change.in_(ARRIVALS | LETTING_IN)
    return tx.values(select(tables.stream_log).where(of_it).order_by(_log.version), LogEntry)


def arrived_by(tx: Transaction, task: str, attempt: int, *, version: int) -> int:
    """Return how many documents of an attempt that shows had come by a stream version."""
    of_it = (_log.task == task) & (_log.attempt == attempt)
    let_in = tx.execute(select(func.max(_log.version)).where(of_it, _log.change.in_(LETTING_IN))).scalar_one()
    arrived = of_it & _log.change.in_(ARRIVALS)
    # Former attempts of times when their counts were not kept came by uploads that showed.
    total = docs_of(tx, task, attempt)
    if total is None or let_in is None or let_in > version:
        return _sum_of_docs(tx, arrived & (_log.version <= version))
    # Counted from the end: of what waited to be let in the log does not tell.
    return total - _sum_of_docs(tx, arrived & (_log.version > version))


def _sum_of_docs(tx: Transaction, named: ColumnElement[bool]) -> int:
    return int(tx.execute(select(func.coalesce(func.sum(_log.docs), 0)).where(named)).scalar_one())


def docs_of(tx: Transaction, task: str, attempt: int) -> int | None:
    """Return how many documents an attempt has brought; None if that is not known any more."""
    present, former = tables.tasks.c, tables.attempts.c
    wanted = union_all(
        select(present.docs).where(present.fid == task, present.attempt == attempt),
        select(former.docs).where(former.task == task, former.attempt == attempt),
    )
    return tx.execute(wanted).scalars().first()


def made_by(tx: Transaction, task: Task) -> int | None:
    """Return the last stream version that the present attempt of a task made; None if it changed nothing."""
    return tx.execute(made_by_attempt(literal(task.fid), literal(task.attempt))).scalar_one()


def made_by_attempt(task: ColumnElement[str], attempt: ColumnElement[int]) -> Select[Any]:
    """Select the last stream version that an attempt made."""
    own = ARRIVALS | LETTING_IN | {Change.WITHHOLD}
    return select(func.max(_log.version)).where(_log.task == task, _log.attempt == attempt, _log.change.in_(own))


def replaced_by_attempt(task: ColumnElement[str], attempt: ColumnElement[int]) -> Select[Any]:
    """Select the stream version at which an attempt took the place of former ones."""
    return _last(task, attempt, Change.REPLACE)


def replaced_by(tx: Transaction, task: Task) -> int | None:
    """Return the stream version at which a task's present attempt took the place of former ones; None if none did."""
    return tx.execute(replaced_by_attempt(literal(task.fid), literal(task.attempt))).scalar_one()


def withheld_by(tx: Transaction, task: Task) -> int | None:
    """Return the stream version at which a gate took out what a task's present attempt had shown; None if nothing."""
    return tx.execute(_last(literal(task.fid), literal(task.attempt), Change.WITHHOLD)).scalar_one()


def _last(task: ColumnElement[str], attempt: ColumnElement[int], change: Change) -> Select[Any]:
    return select(func.max(_log.version)).where(_log.task == task, _log.attempt == attempt, _log.change == change)


def within(tx: Transaction, stream: str, *, since: int, until: int, docs: int) -> int:
    """Return the last version up to ``until`` by which at most so many document versions came and went.

    It is at least the one after ``since``: what one version did is not divided.
    """
    steps = select(_log.version, _log.docs).where(_log.stream == stream, _log.version > since, _log.version <= until)
    reached, moved = since, 0
    for step in tx.execute(steps.order_by(_log.version)):
        moved += step.docs
        if moved > docs and reached > since:
            break
        reached = step.version
        if moved >= docs:
            break
    return reached


def changes_at(tx: Transaction, stream: str, versions: Collection[int]) -> dict[int, Change]:
    """Return what versions of a stream did, by version."""
    rows = tx.execute(select(_log.version, _log.change).where(_log.stream == stream, _log.version.in_(versions)))
    return {row.version: Change(row.change) for row in rows}


def began_at(tx: Transaction, stream: str, version: int) -> datetime | None:
    """Return when a stream came to a version; None if it was made with it."""
    return tx.execute(select(_log.at).where(_log.stream == stream, _log.version == version)).scalar_one_or_none()


def to_purge(tx: Transaction, *, before: datetime) -> list[tuple[str, int]]:
    """Return streams that had left versions behind by a moment, with the version at which each stood then."""
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
    """Keep that a stream is no longer shown as it was before a version, and forget which ids were erased before."""
    tx.execute(
        update(tables.streams)
        .where(_streams.fid == stream, _streams.purged_version < version)
        .values(purged_version=version)
    )
    erasures = tables.erasures.c
    tx.execute(delete(tables.erasures).where(erasures.stream == stream, erasures.version <= version))


def erased(tx: Transaction, erasure: Erasure) -> None:
    """Keep that a version erased a document."""
    tx.execute(insert(tables.erasures).values(asdict(erasure)))


def erasures(tx: Transaction, stream: str, *, since: int, until: int) -> list[Erasure]:
    """Return what was erased after a version, up to another, in order."""
    of_it = tables.erasures.c
    wanted = select(tables.erasures).where(of_it.stream == stream, of_it.version > since, of_it.version <= until)
    return tx.values(wanted.order_by(of_it.version), Erasure)


def forget_log(tx: Transaction, stream: str) -> None:
    """Delete a stream's log, with the stream."""
    tx.execute(delete(tables.stream_log).where(_log.stream == stream))


def uncounted(tx: Transaction, *, limit: int) -> list[Stream]:
    """Return streams that show something else than when their documents were counted."""
    wanted = STREAMS.rows.where(_streams.docs_version < _streams.stream_version).order_by(_streams.fid).limit(limit)
    return tx.values(wanted, Stream)


def counted(tx: Transaction, stream: str, *, docs: int, version: int) -> None:
    """Keep the number of documents that a stream shows at a version, unless a later count is there."""
    tx.execute(
        update(tables.streams)
        .where(_streams.fid == stream, _streams.docs_version < version)
        .values(docs=docs, docs_version=version)
    )
