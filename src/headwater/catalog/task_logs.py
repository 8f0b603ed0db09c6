"""How much the log of each attempt holds; the lines themselves are in files of the lake, or in ``log_chunks``."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from headwater.catalog import log_chunks, tables
from headwater.catalog.core.transaction import Transaction

_logs = tables.task_logs.c

#: Published when a log has grown.
LOGGED = "task_logs"


@dataclass(frozen=True, kw_only=True)
class TaskLog:
    """The size of an attempt's log."""

    task: str
    attempt: int
    lines: int = 0
    bytes: int = 0
    #: Lines that had no room.
    dropped: int = 0

    @property
    def path(self) -> str:
        """The path of its file in the lake."""
        return f"logs/task={self.task}/{self.attempt}.ndjson"


def find(tx: Transaction, task: str, attempt: int) -> TaskLog:
    """Return the size of a log; an empty one if there is none."""
    return tx.value(select(tables.task_logs).where(_is(task, attempt)), TaskLog) or TaskLog(task=task, attempt=attempt)


def lock(tx: Transaction, task: str, attempt: int) -> TaskLog:
    """Return the size of a log, created if necessary, and prevent changes by others until the transaction ends."""
    wanted = select(tables.task_logs).where(_is(task, attempt)).with_for_update()
    found = tx.value(wanted, TaskLog)
    if found is None:
        try:
            with tx.savepoint():
                tx.execute(insert(tables.task_logs).values(asdict(TaskLog(task=task, attempt=attempt))))
        except IntegrityError:  # another process was first
            pass
        found = tx.value(wanted, TaskLog)
    return found or TaskLog(task=task, attempt=attempt)


def grow(tx: Transaction, log: TaskLog) -> None:
    """Store the new size of a locked log."""
    values = {"lines": log.lines, "bytes": log.bytes, "dropped": log.dropped}
    tx.execute(update(tables.task_logs).where(_is(log.task, log.attempt)).values(values))
    tx.publish(LOGGED)


def remove(tx: Transaction, *, before: datetime) -> list[str]:
    """Remove the logs of tasks that were deleted before a time, and return the paths of their files: garbage."""
    removed = select(tables.tasks.c.fid).where(tables.tasks.c.removed_at <= before)
    return _remove(tx, _logs.task.in_(removed))


def remove_of_tasks(tx: Transaction, tasks: Sequence[str]) -> list[str]:
    """Remove the logs of tasks, and return the paths of their files."""
    return _remove(tx, _logs.task.in_(tasks))


def _remove(tx: Transaction, matches: ColumnElement[bool]) -> list[str]:
    found = tx.values(select(tables.task_logs).where(matches), TaskLog)
    if found:
        tx.execute(delete(tables.task_logs).where(matches))
    moved = [path for log in found for path in log_chunks.remove(tx, log.task, log.attempt)]
    return [*(log.path for log in found), *moved]


def _is(task: str, attempt: int) -> ColumnElement[bool]:
    return (_logs.task == task) & (_logs.attempt == attempt)
