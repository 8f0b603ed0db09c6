"""The logs of attempts where the lake is an object store: lines in rows, until they are enough for an object.

Each chunk holds whole lines. A row holds the lines themselves, or the path of the object that they were moved to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update

from headwater.catalog import intended_files, tables
from headwater.catalog.core.transaction import Transaction
from headwater.domain.errors import MovedMeanwhile

_chunks = tables.log_chunks.c
#: The columns of a chunk.
_CHUNK = (_chunks.start, _chunks.size, _chunks.lines, _chunks.path)


@dataclass(frozen=True, kw_only=True)
class LogChunk:
    """Consecutive lines of a log."""

    #: Its first byte in the log, and its size.
    start: int
    size: int
    #: The lines, or the path of the object that holds them.
    lines: bytes | None
    path: str | None


@dataclass(frozen=True, kw_only=True)
class WaitingLog:
    """A log of which rows may be moved to an object."""

    task: str
    attempt: int
    #: Bytes of those rows.
    size: int


def append(tx: Transaction, task: str, attempt: int, lines: bytes, *, start: int, at: datetime) -> None:
    """Append lines to a log that ends at ``start`` and is locked."""
    row = {
        "task": task,
        "attempt": attempt,
        "start": start,
        "size": len(lines),
        "lines": lines,
        "at": at,
        "waits": True,
    }
    tx.execute(insert(tables.log_chunks).values(row))


def at(tx: Transaction, task: str, attempt: int, place: int) -> LogChunk | None:
    """Return the chunk that holds a byte, or else the next one."""
    wanted = select(*_CHUNK).where(_of(task, attempt), _chunks.start + _chunks.size > place)
    return tx.value(wanted.order_by(_chunks.start).limit(1), LogChunk)


def before(tx: Transaction, task: str, attempt: int, place: int) -> LogChunk | None:
    """Return the chunk that ends at a byte or before."""
    wanted = select(*_CHUNK).where(_of(task, attempt), _chunks.start < place)
    return tx.value(wanted.order_by(_chunks.start.desc()).limit(1), LogChunk)


def size(tx: Transaction, task: str, attempt: int) -> int:
    """Return the size of a log in bytes."""
    return tx.execute(select(func.max(_chunks.start + _chunks.size)).where(_of(task, attempt))).scalar_one() or 0


def waiting(tx: Transaction, *, enough: int, quiet_since: datetime, limit: int) -> list[WaitingLog]:
    """Return logs with ``enough`` bytes in rows, or with some and nothing new since a time."""
    total = func.sum(_chunks.size)
    wanted = (
        select(_chunks.task, _chunks.attempt, total.label("size"))
        .where(_chunks.waits)
        .group_by(_chunks.task, _chunks.attempt)
        .having(or_(total >= enough, func.max(_chunks.at) <= quiet_since))
    )
    return [
        WaitingLog(task=row.task, attempt=row.attempt, size=int(row.size)) for row in tx.execute(wanted.limit(limit))
    ]


def rows_of(tx: Transaction, log: WaitingLog, *, most_bytes: int) -> list[LogChunk]:
    """Return the first rows of a log that wait, of about ``most_bytes`` together."""
    wanted = select(*_CHUNK).where(_of(log.task, log.attempt), _chunks.waits).order_by(_chunks.start)
    found: list[LogChunk] = []
    for row in tx.execute(wanted):
        found.append(LogChunk(start=row.start, size=row.size, lines=row.lines, path=row.path))
        most_bytes -= row.size
        if most_bytes <= 0:
            break
    return found


def move(tx: Transaction, log: WaitingLog, rows: Sequence[LogChunk], path: str, *, at: datetime) -> None:
    """Replace rows by one that names the object with their lines.

    Raises:
        MovedMeanwhile: another process did so, or the log was purged.
    """
    starts = [row.start for row in rows]
    gone = tx.execute(
        delete(tables.log_chunks).where(_of(log.task, log.attempt), _chunks.waits, _chunks.start.in_(starts))
    )
    if gone.rowcount != len(rows):
        raise MovedMeanwhile(f"the log of task {log.task} was moved by another process, or purged")
    intended_files.claim(tx, [path])
    total = sum(row.size for row in rows)
    row = {"task": log.task, "attempt": log.attempt, "start": starts[0], "size": total, "path": path, "at": at}
    tx.execute(insert(tables.log_chunks).values(row | {"waits": False}))


def settle(tx: Transaction, log: WaitingLog) -> None:
    """Leave the rows of a short log where they are."""
    tx.execute(update(tables.log_chunks).where(_of(log.task, log.attempt), _chunks.waits).values(waits=False))


def remove(tx: Transaction, task: str, attempt: int) -> list[str]:
    """Remove the chunks of a log, and return the paths of the objects that they named."""
    gone = delete(tables.log_chunks).where(_of(task, attempt)).returning(_chunks.path)
    return [path for path in tx.execute(gone).scalars() if path is not None]


def _of(task: str, attempt: int) -> ColumnElement[bool]:
    return (_chunks.task == task) & (_chunks.attempt == attempt)
