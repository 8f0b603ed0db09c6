"""Rows that are of no use after a time: deleted some at a time, so that no transaction is long."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import delete, select, update

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction, batched
from headwater.domain.stream import Change

_log = tables.stream_log.c
_receipts = tables.receipts.c
_tasks = tables.tasks.c
_attempts = tables.attempts.c

#: Lines of a log that are looked at in one transaction.
MANY_LINES = 5_000


def receipts(tx: Transaction, *, before: datetime, after: datetime | None = None, limit: int) -> int:
    """Delete the stored answers to uploads of tasks that ended before a time; return of how many tasks.

    ``after`` is a time up to which no ended task has any. The ended tasks are looked through, not the answers, of
    which there are many more.
    """
    has_some = select(_receipts.task).where(_receipts.task == _tasks.fid).exists()
    wanted = select(_tasks.fid).where(_tasks.ended_at <= before, has_some)
    if after is not None:
        wanted = wanted.where(_tasks.ended_at > after)
    found = list(tx.execute(wanted.order_by(_tasks.ended_at).limit(limit)).scalars())
    for some in batched(found):
        tx.execute(delete(tables.receipts).where(_receipts.task.in_(some)))
    return len(found)


def attempts(tx: Transaction, *, before: datetime, limit: int) -> int:
    """Delete the records of former attempts that ended before a time; return how many there were."""
    is_old = _attempts.ended_at <= before
    found = set(tx.execute(select(_attempts.task).where(is_old).order_by(_attempts.ended_at).limit(limit)).scalars())
    gone = 0
    for some in batched(sorted(found)):
        gone += tx.execute(delete(tables.attempts).where(is_old, _attempts.task.in_(some))).rowcount
    return gone


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The result of merging the lines of a log."""

    #: How many lines are gone.
    lines: int
    #: The version after which to go on; None at the end.
    after: int | None


def uploads_in_log(tx: Transaction, stream: str, *, until: int, after: int, limit: int = MANY_LINES) -> Merged:
    """Merge the lines of a stream's log that uploads of one attempt made up to a version, one after another.

    The last of them stays, with the documents of all. Which upload brought a document is needed only for versions that
    can be read.
    """
    wanted = select(_log.version, _log.change, _log.task, _log.attempt, _log.docs).where(
        _log.stream == stream, _log.version > after, _log.version <= until
    )
    rows = tx.execute(wanted.order_by(_log.version).limit(limit)).all()
    gone: list[int] = []
    last = after
    for (change, _, _), group in groupby(rows, key=lambda row: (row.change, row.task, row.attempt)):
        run = list(group)
        last = run[-1].version - 1
        if change == Change.UPLOAD and len(run) > 1:
            gone += [row.version for row in run[:-1]]
            _keep(tx, stream, run[-1].version, docs=sum(row.docs for row in run))
    _forget(tx, stream, gone)
    return Merged(lines=len(gone), after=last if len(rows) == limit and last > after else None)


def _keep(tx: Transaction, stream: str, version: int, *, docs: int) -> None:
    tx.execute(update(tables.stream_log).where(_log.stream == stream, _log.version == version).values(docs=docs))


def _forget(tx: Transaction, stream: str, versions: Sequence[int]) -> None:
    for some in batched(versions):
        tx.execute(delete(tables.stream_log).where(_log.stream == stream, _log.version.in_(some)))
