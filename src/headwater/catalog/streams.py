"""A stream's counters, its log, and how many documents it shows."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select, update

from headwater.catalog import tables
from headwater.catalog.database import Transaction
from headwater.catalog.objects import STREAMS
from headwater.domain.stream import Change, LogEntry, Stream
from headwater.domain.task import Publish, Task

_streams = tables.streams.c
_log = tables.stream_log.c

#: Announced when a stream shows something else than before.
CHANGED = "streams"


# Put together once, like all that an upload runs: building a statement anew costs more than running it.
_COUNT_UP = (
    update(tables.streams)
    .where(_streams.fid == bindparam("of"))
    .values(
        top_layer=_streams.top_layer + bindparam("layers"),
        stream_version=_streams.stream_version + bindparam("versions"),
    )
    .returning(_streams.top_layer, _streams.stream_version)
)
_ADD_TO_LOG = insert(tables.stream_log)


def put_on_top(tx: Transaction, task: Task, *, docs: int, at: datetime) -> tuple[int, int | None]:
    """Give out the next layer of a task's stream, on top of all others, for an upload of so many documents.

    Returns the layer, and the stream version that shows it at once; None if the task's documents wait
    for its success.
    """
    live = task.publish is Publish.LIVE
    layer, version = _count_up(tx, task, layers=1, versions=int(live))
    if not live:
        return layer, None
    _tell(tx, task, Change.UPLOAD, version=version, docs=docs, at=at)
    return layer, version


def advance(tx: Transaction, task: Task, change: Change, *, docs: int, at: datetime) -> int:
    """Begin the stream's next version, log what makes it, and return it."""
    _, version = _count_up(tx, task, layers=0, versions=1)
    _tell(tx, task, change, version=version, docs=docs, at=at)
    return version


def _count_up(tx: Transaction, task: Task, *, layers: int, versions: int) -> tuple[int, int]:
    counted = tx.execute(_COUNT_UP, {"of": task.stream, "layers": layers, "versions": versions}).one()
    return counted.top_layer, counted.stream_version


def _tell(tx: Transaction, task: Task, change: Change, *, version: int, docs: int, at: datetime) -> None:
    entry = LogEntry(
        stream=task.stream, version=version, at=at, change=change, task=task.fid, attempt=task.attempt, docs=docs
    )
    tx.execute(_ADD_TO_LOG, asdict(entry))
    tx.announce(CHANGED)


def log(tx: Transaction, stream: str, *, before: int | None, limit: int) -> list[LogEntry]:
    """Return lines of a stream's log, newest first, older than the version ``before``."""
    wanted = select(tables.stream_log).where(_log.stream == stream).order_by(_log.version.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(_log.version < before)
    return tx.values(wanted, LogEntry)


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
