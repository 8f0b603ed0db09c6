"""A stream's counters, its log, and how many documents it shows."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import delete, insert, select, update

from headwater.catalog import tables
from headwater.catalog.database import Transaction
from headwater.catalog.objects import STREAMS
from headwater.domain.stream import Change, LogEntry, Stream
from headwater.domain.task import Task

_streams = tables.streams.c
_log = tables.stream_log.c

#: Announced when a stream shows something else than before.
CHANGED = "streams"


def next_layer(tx: Transaction, stream: str) -> int:
    """Give out the next layer of a stream, on top of all others."""
    return tx.execute(
        update(tables.streams)
        .where(_streams.fid == stream)
        .values(top_layer=_streams.top_layer + 1)
        .returning(_streams.top_layer)
    ).scalar_one()


def advance(tx: Transaction, task: Task, change: Change, *, docs: int, at: datetime) -> int:
    """Begin the stream's next version, log what makes it, and return it."""
    version: int = tx.execute(
        update(tables.streams)
        .where(_streams.fid == task.stream)
        .values(stream_version=_streams.stream_version + 1)
        .returning(_streams.stream_version)
    ).scalar_one()
    entry = LogEntry(
        stream=task.stream, version=version, at=at, change=change, task=task.fid, attempt=task.attempt, docs=docs
    )
    tx.execute(insert(tables.stream_log).values(asdict(entry)))
    tx.announce(CHANGED)
    return version


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
