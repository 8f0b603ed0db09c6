"""Questions and changes that only tasks know."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, Select, bindparam, insert, null, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from headwater.catalog import events, objects, streams, tables
from headwater.catalog.objects import TASKS
from headwater.catalog.segments import batched
from headwater.catalog.transaction import Prepared, Transaction
from headwater.domain.errors import Flaw, MovedMeanwhile, RequestInvalid
from headwater.domain.event import edit
from headwater.domain.stream import Counts
from headwater.domain.task import (
    CODE_RUNNING,
    Attempt,
    Origin,
    Reason,
    Task,
    TaskFilter,
    TaskState,
    present_attempt,
    require_open,
)

_tasks = tables.tasks.c
_IS_OPEN = text(tables.OPEN)


def open_of(tx: Transaction, crawler: str) -> Task | None:
    """Return the crawler's task that is new or running, or None."""
    return tx.value(TASKS.rows.where(_tasks.crawler == crawler, _IS_OPEN), Task)


def add(tx: Transaction, task: Task) -> tuple[Task, bool]:
    """Store a new task, or return the open one that its crawler has: ``(task, whether it is the new one)``."""
    return _unless_open(tx, task.crawler, lambda: objects.add(tx, TASKS, task))


def reopen(tx: Transaction, old: Task, new: Task) -> tuple[Task, bool]:
    """Store a task's next attempt, or return the open task that its crawler has: ``(task, whether reopened)``."""
    return _unless_open(tx, old.crawler, lambda: change(tx, old, new, at=new.started_at))


def _unless_open(tx: Transaction, crawler: str, store: Callable[[], Task]) -> tuple[Task, bool]:
    try:
        with tx.savepoint():
            return store(), True
    except IntegrityError:  # the index of one open task a crawler
        present = open_of(tx, crawler)
        if present is None:
            raise
        return present, False


def change(tx: Transaction, old: Task, new: Task, *, at: datetime) -> Task:
    """Store a task's move by compare-and-set.

    Raises:
        MovedMeanwhile: it is no longer as ``old`` says.
    """
    return objects.save(tx, TASKS, old, replace(new, **objects.edited(at, old.version)))


# Put together once: building a statement anew costs more than running it.
_HEARD = (
    update(tables.tasks)
    .where(_tasks.fid == bindparam("of"), _tasks.attempt == bindparam("in_attempt"), _IS_OPEN)
    .values(heard_at=bindparam("at"), deadline=bindparam("until"))
)
_CREDIT = Prepared(
    _HEARD.values(
        docs=_tasks.docs + bindparam("more_docs"),
        bytes=_tasks.bytes + bindparam("more_bytes"),
        uploads=_tasks.uploads + 1,
        rejected=_tasks.rejected + bindparam("more_rejected"),
    ).returning(_tasks.docs)
)
# What was said of a start that had to wait is over with the first upload.
_BEGUN: dict[str, Any] = {"state": TaskState.RUNNING, "code": CODE_RUNNING, "message": None, "detail": None}
_BEGIN = Prepared(
    update(tables.tasks)
    .where(_tasks.fid == bindparam("of"), _tasks.attempt == bindparam("in_attempt"), _tasks.state == TaskState.NEW)
    .values(_BEGUN)
    .returning(_tasks.version)
)


def credit(tx: Transaction, task: Task, *, docs: int, size: int, rejected: int = 0, at: datetime) -> int:
    """Count an upload of an attempt that is still open, restart its silence timer, and return its documents so far.

    Raises:
        TaskRemoved, TaskClosed, MovedMeanwhile: the attempt does not take it any more.
    """
    more = {"more_docs": docs, "more_bytes": size, "more_rejected": rejected}
    counted = tx.run(_CREDIT, {**more, **_hearing(task, at)})
    if counted is None:
        raise _over(tx, task)
    # Who has seen it run need not look again: an attempt never goes back.
    if task.state is TaskState.NEW and tx.run(_BEGIN, {"of": task.fid, "in_attempt": task.attempt}):
        running = replace(task, **_BEGUN, docs=counted[0], heard_at=at, updated_at=at)
        events.tell(tx, edit(TASKS.singular, task, running))
    return counted[0]


def joined(tx: Transaction, task: Task, *, docs: int, size: int, rejected: int, is_to_sum_up: bool) -> None:
    """Count documents that came into a locked task from what was kept aside, and what is still kept aside of it."""
    values: dict[str, Any] = {"docs": _tasks.docs + docs, "bytes": _tasks.bytes + size, "rejected": rejected}
    if is_to_sum_up:
        values["summary"] = null()
    tx.execute(update(tables.tasks).where(_tasks.fid == task.fid).values(values))


def heard(tx: Transaction, task: Task, *, at: datetime) -> None:
    """Restart the silence timer of an attempt that is still open.

    Raises:
        TaskRemoved, TaskClosed, MovedMeanwhile: the attempt is over.
    """
    if tx.execute(_HEARD, _hearing(task, at)).rowcount != 1:
        raise _over(tx, task)


def _hearing(task: Task, at: datetime) -> dict[str, Any]:
    until = at + timedelta(seconds=task.timeout)
    return {"of": task.fid, "in_attempt": task.attempt, "at": at, "until": until}


def _over(tx: Transaction, task: Task) -> MovedMeanwhile:
    present = objects.get(tx, TASKS, task.fid)
    require_open(present)
    return MovedMeanwhile(f"attempt {task.attempt} of task {task.fid} is over: it is at attempt {present.attempt} now")


def archive(tx: Transaction, task: Task) -> None:
    """Keep what an attempt was, before the next one begins."""
    names = {column.name for column in tables.attempts.c} - {"task"}
    values: dict[str, Any] = {name: getattr(task, name) for name in names}
    tx.execute(insert(tables.attempts).values(task=task.fid, **values))


def former_attempts(tx: Transaction, tasks: Collection[str]) -> list[Attempt]:
    """Return the attempts of tasks that a retry has followed."""
    return tx.values(select(tables.attempts).where(tables.attempts.c.task.in_(tasks)), Attempt)


def attempts_of(tx: Transaction, fid: str, *, before: int | None, limit: int) -> list[Attempt]:
    """Return a task's attempts, the newest first: those before an attempt, if it is given.

    Raises:
        NotFound: there is no such task.
    """
    task = objects.get(tx, TASKS, fid)
    former = tables.attempts.c
    wanted = select(tables.attempts).where(former.task == fid).order_by(former.attempt.desc()).limit(limit)
    if before is not None:
        return tx.values(wanted.where(former.attempt < before), Attempt)
    return [present_attempt(task), *tx.values(wanted, Attempt)][:limit]


def last_good_docs(tx: Transaction, crawler: str) -> int | None:
    """Return how many documents the last attempt of a crawler brought that was let into its stream, or None.

    Attempts count that a retry has followed; those of tasks that are deleted do not.
    """
    former = tables.attempts.c
    of_it = (_tasks.crawler == crawler) & _tasks.removed_at.is_(None)
    runs = select(_tasks.docs, _tasks.ended_at).where(of_it, *_let_in(_tasks))
    earlier = select(former.docs, former.ended_at).join(tables.tasks, _tasks.fid == former.task)
    last = [
        tx.execute(some.order_by(ended_at.desc()).limit(1)).one_or_none()
        for some, ended_at in ((runs, _tasks.ended_at), (earlier.where(of_it, *_let_in(former)), former.ended_at))
    ]
    found = [(row.ended_at, row.docs) for row in last if row is not None]
    return max(found)[1] if found else None


def _let_in(columns: ReadOnlyColumnCollection[str, Column[Any]]) -> tuple[ColumnElement[bool], ...]:
    return columns.state == TaskState.DONE, columns.reason != Reason.GATE_FAILED


def matching(tx: Transaction, stream: str, wanted: TaskFilter, *, removed: bool, lock: bool = False) -> list[Task]:
    """Return the tasks of a stream that a filter means, oldest first: removed ones, or those that are not.

    ``lock`` keeps others from changing them until the transaction ends.

    Raises:
        RequestInvalid: the filter names tasks that are none of the stream's.
    """
    unknown = strangers(tx, stream, wanted.tasks) if wanted.tasks else []
    if unknown:
        detail = f"{unknown[0]!r} is no task of stream {stream}"
        raise RequestInvalid(detail, flaws=[Flaw(pointer="/tasks", detail=detail)])
    is_removed = _tasks.removed_at.is_not(None)
    found = TASKS.rows.where(_tasks.stream == stream, is_removed if removed else ~is_removed)
    for column, value in ((_tasks.external_version, wanted.external_version), (_tasks.origin, wanted.origin)):
        if value is not None:
            found = found.where(column == value)
    if wanted.since is not None:
        found = found.where(_tasks.started_at >= wanted.since)
    if wanted.until is not None:
        found = found.where(_tasks.started_at < wanted.until)
    if wanted.tasks is not None:
        found = found.where(_tasks.fid.in_(wanted.tasks))
    if wanted.removed_version is not None:
        found = found.where(_tasks.removed_version == wanted.removed_version)
    found = found.order_by(_tasks.fid)
    params = (wanted.params or {}).items()
    # Compared here and as texts: databases, and Python (True == 1), differ in what they call equal in JSON.
    return [
        task
        for task in tx.values(found.with_for_update() if lock else found, Task)
        if all(name in task.params and _as_text(task.params[name]) == _as_text(value) for name, value in params)
    ]


def _as_text(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def mark_removed(tx: Transaction, removed: Sequence[Task], *, version: int | None, at: datetime) -> None:
    """Mark tasks, locked for us, as removed from their stream by a version."""
    _mark(tx, removed, at=at, removed_at=at, removed_version=version, retry_at=None)


def mark_restored(tx: Transaction, restored: Sequence[Task], *, at: datetime) -> None:
    """Mark tasks, locked for us, as belonging to their stream again."""
    _mark(tx, restored, at=at, removed_at=None, removed_version=None)


def _mark(tx: Transaction, marked: Sequence[Task], *, at: datetime, **values: Any) -> None:
    for some in batched([task.fid for task in marked]):
        of_it = update(tables.tasks).where(_tasks.fid.in_(some))
        tx.execute(of_it.values(version=_tasks.version + 1, updated_at=at, **values))
    for task in marked:
        events.tell(tx, edit(TASKS.singular, task, replace(task, **objects.edited(at, task.version), **values)))


def to_sum_up(tx: Transaction, *, limit: int) -> list[Task]:
    """Return tasks that have ended and whose doing was not counted yet."""
    made = streams.made_by_attempt(_tasks.fid, _tasks.attempt).scalar_subquery()
    replaced = streams.replaced_by_attempt(_tasks.fid, _tasks.attempt).scalar_subquery()
    kept = select(tables.streams.c.purged_version).where(tables.streams.c.fid == _tasks.stream).scalar_subquery()
    # What a task did before the versions that are kept cannot be told any more.
    is_kept = made.is_(None) | ((made > kept) & (replaced.is_(None) | (replaced > kept)))
    wanted = TASKS.rows.where(_tasks.summary.is_(None), _tasks.ended_at.is_not(None), is_kept)
    return tx.values(wanted.limit(limit), Task)


def summed_up(tx: Transaction, task: Task, counts: Counts) -> None:
    """Keep what an attempt did to its stream, if its task is still as it was when that was counted."""
    # At that version of the task: what it did is another thing once a person has published it, say.
    of_it = (_tasks.fid == task.fid) & (_tasks.version == task.version) & _tasks.ended_at.is_not(None)
    tx.execute(update(tables.tasks).where(of_it).values(summary=asdict(counts)))


def strangers(tx: Transaction, stream: str, fids: Collection[str]) -> list[str]:
    """Return those of the fids that are no task of a stream."""
    known = set(tx.execute(select(_tasks.fid).where(_tasks.stream == stream, _tasks.fid.in_(fids))).scalars())
    return sorted(set(fids) - known)


def silent_since(tx: Transaction, at: datetime, *, limit: int) -> list[Task]:
    """Return open tasks whose crawler has missed its deadline, longest silent first; locked for us."""
    # Ordered by deadline, not fid: PostgreSQL would otherwise walk the primary key past years of ended tasks.
    wanted = TASKS.rows.where(_tasks.deadline <= at).order_by(_tasks.deadline).limit(limit)
    return tx.values(wanted.with_for_update(skip_locked=True), Task)


def to_retry(tx: Transaction, *, at: datetime, limit: int) -> list[str]:
    """Return tasks that are to be retried by now and whose crawler has no open one, longest due first."""
    is_busy = _tasks.crawler.in_(select(_tasks.crawler).where(_IS_OPEN))
    wanted = select(_tasks.fid).where(_tasks.retry_at <= at, ~is_busy).order_by(_tasks.retry_at).limit(limit)
    return list(tx.execute(wanted).scalars())


def call_off_retries(tx: Transaction, crawler: str, origin: Origin, *, at: datetime) -> None:
    """Let the tasks of a crawler and of an origin rest that were to be retried by themselves."""
    of_it = (_tasks.crawler == crawler) & (_tasks.origin == origin) & _tasks.retry_at.is_not(None)
    called_off = tx.values(TASKS.rows.where(of_it).order_by(_tasks.fid).with_for_update(), Task)
    _mark(tx, called_off, at=at, retry_at=None)


def let_retry(tx: Transaction, credential: str, *, at: datetime) -> None:
    """Let tasks be retried that failed because a credential had expired.

    These are the latest tasks of crawlers that name it, and have automatic retries left.
    """
    newer, crawlers = tables.tasks.alias().c, tables.crawlers.c
    waiting = (
        TASKS.rows.join(tables.crawlers, crawlers.fid == _tasks.crawler)
        .where(crawlers.login == credential, _tasks.retried < crawlers.retries)
        .where(_tasks.state == TaskState.FAILED, _tasks.reason == Reason.CREDENTIAL_EXPIRED)
        .where(_tasks.removed_at.is_(None), _tasks.retry_at.is_(None))
        .where(~select(newer.fid).where(newer.crawler == _tasks.crawler, newer.fid > _tasks.fid).exists())
    )
    _mark(tx, tx.values(waiting.order_by(_tasks.fid).with_for_update(of=tables.tasks), Task), at=at, retry_at=at)


def pardon(tx: Transaction, *, at: datetime, grace: timedelta) -> int:
    """Give tasks that are overdue while nobody could hear them a moment to speak; return how many."""
    return tx.execute(update(tables.tasks).where(_tasks.deadline <= at).values(deadline=at + grace)).rowcount


def latest_of(tx: Transaction, streams: list[str]) -> dict[str, Task]:
    """Return the latest task of each stream that has one, by stream."""
    run = tables.tasks.alias().c
    newest = (
        select(run.fid)
        .where(run.stream == tables.streams.c.fid)
        .order_by(run.started_at.desc(), run.fid.desc())
        .limit(1)
        .correlate(tables.streams)
        .scalar_subquery()
    )
    wanted = TASKS.rows.where(_tasks.fid.in_(select(newest).where(tables.streams.c.fid.in_(streams))))
    return {task.stream: task for task in tx.values(wanted, Task)}


def open_states(tx: Transaction, crawlers: list[str]) -> dict[str, TaskState]:
    """Return the state of each crawler's open task, by crawler."""
    rows = tx.execute(select(_tasks.crawler, _tasks.state).where(_tasks.crawler.in_(crawlers), _IS_OPEN))
    return {row.crawler: TaskState(row.state) for row in rows}


def crawlers_with(state: TaskState) -> Select[Any]:
    """Select the crawlers whose open task is in a state."""
    return select(_tasks.crawler).where(_tasks.state == state, _IS_OPEN)


def of_crawler(tx: Transaction, crawler: str) -> list[Task]:
    """Return every task of a crawler, oldest first, locked for us."""
    wanted = TASKS.rows.where(_tasks.crawler == crawler).order_by(_tasks.fid).with_for_update()
    return tx.values(wanted, Task)
