"""Queries and changes of tasks."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Text,
    bindparam,
    cast,
    func,
    insert,
    null,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from headwater.catalog import events, objects, streams, tables
from headwater.catalog.core.prepared_statement import PreparedStatement
from headwater.catalog.core.steps import Call, Steps, Turn
from headwater.catalog.core.transaction import Transaction, batched
from headwater.catalog.objects import TASKS
from headwater.domain.errors import Flaw, MovedMeanwhile, RequestInvalid
from headwater.domain.event import edit
from headwater.domain.stream import Counts
from headwater.domain.task import (
    CODE_RUNNING,
    Attempt,
    Failing,
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
    """Store a new task, or return its crawler's open one: ``(task, whether it is the new one)``."""
    return _unless_open(tx, task.crawler, lambda: objects.add(tx, TASKS, task))


def reopen(tx: Transaction, old: Task, new: Task) -> tuple[Task, bool]:
    """Store a task's next attempt, or return its crawler's open task: ``(task, whether reopened)``."""
    return _unless_open(tx, old.crawler, lambda: change(tx, old, new, at=new.started_at))


def _unless_open(tx: Transaction, crawler: str, store: Callable[[], Task]) -> tuple[Task, bool]:
    try:
        with tx.savepoint():
            return store(), True
    except IntegrityError:  # the unique index on open tasks
        present = open_of(tx, crawler)
        if present is None:
            raise
        return present, False


def change(tx: Transaction, old: Task, new: Task, *, at: datetime) -> Task:
    """Store a task's transition by compare-and-set.

    Raises:
        MovedMeanwhile: the task is no longer as in ``old``.
    """
    return objects.save(tx, TASKS, old, replace(new, **objects.edited(at, old.version)))


# Built once: building a statement costs more than running it.
_RESTART_TIMER = (
    update(tables.tasks)
    .where(_tasks.fid == bindparam("of"), _tasks.attempt == bindparam("in_attempt"), _IS_OPEN)
    .values(heard_at=bindparam("at"), deadline=bindparam("until"))
)
_CREDIT = PreparedStatement(
    _RESTART_TIMER.values(
        docs=_tasks.docs + bindparam("more_docs"),
        bytes=_tasks.bytes + bindparam("more_bytes"),
        uploads=_tasks.uploads + 1,
        rejected=_tasks.rejected + bindparam("more_rejected"),
        deleted=_tasks.deleted + bindparam("more_deleted"),
    ).returning(_tasks.docs, _tasks.deleted)
)
# The message about a delayed start is cleared by the first upload.
_BEGUN: dict[str, Any] = {"state": TaskState.RUNNING, "code": CODE_RUNNING, "message": None, "detail": None}
_BEGIN = PreparedStatement(
    update(tables.tasks)
    .where(_tasks.fid == bindparam("of"), _tasks.attempt == bindparam("in_attempt"), _tasks.state == TaskState.NEW)
    .values(_BEGUN)
    .returning(_tasks.version)
)


def credit(
    tx: Transaction, task: Task, *, docs: int, size: int, rejected: int = 0, deleted: int = 0, at: datetime
) -> Steps[tuple[int, int]]:
    """Count an upload of an open attempt, restart its silence timer, and return its documents and deletions so far.

    Raises:
        TaskRemoved, TaskClosed, MovedMeanwhile: the attempt takes no more uploads.
    """
    more = {"more_docs": docs, "more_bytes": size, "more_rejected": rejected, "more_deleted": deleted}
    calls = [(_CREDIT, {**more, **_timer_values(task, at)})]
    # A caller that saw it running need not check again: an attempt never goes back to new.
    if task.state is TaskState.NEW:
        calls.append((_BEGIN, {"of": task.fid, "in_attempt": task.attempt}))
    counted, *begun = yield [
        Call(statement=statement, values=values, turn=Turn.TASKS, locks=task.fid) for statement, values in calls
    ]
    if counted is None:
        raise _attempt_over(tx, task)
    if any(begun):
        running = replace(task, **_BEGUN, docs=counted[0], deleted=counted[1], heard_at=at, updated_at=at)
        events.append(tx, edit(TASKS.singular, task, running))
    return counted[0], counted[1]


def joined(
    tx: Transaction, task: Task, *, docs: int, deleted: int, size: int, rejected: int, is_to_sum_up: bool
) -> None:
    """Count replayed documents of a locked task, and its remaining rejected lines."""
    values: dict[str, Any] = {
        "docs": _tasks.docs + docs,
        "deleted": _tasks.deleted + deleted,
        "bytes": _tasks.bytes + size,
        "rejected": rejected,
    }
    if is_to_sum_up:
        values["summary"] = null()
    tx.execute(update(tables.tasks).where(_tasks.fid == task.fid).values(values))


def heard(tx: Transaction, task: Task, *, at: datetime) -> None:
    """Restart the silence timer of an open attempt.

    Raises:
        TaskRemoved, TaskClosed, MovedMeanwhile: the attempt is over.
    """
    if tx.execute(_RESTART_TIMER, _timer_values(task, at)).rowcount != 1:
        raise _attempt_over(tx, task)


def _timer_values(task: Task, at: datetime) -> dict[str, Any]:
    until = at + timedelta(seconds=task.timeout)
    return {"of": task.fid, "in_attempt": task.attempt, "at": at, "until": until}


def _attempt_over(tx: Transaction, task: Task) -> MovedMeanwhile:
    present = objects.get(tx, TASKS, task.fid)
    require_open(present)
    return MovedMeanwhile(f"attempt {task.attempt} of task {task.fid} is over: it is at attempt {present.attempt} now")


def archive(tx: Transaction, task: Task) -> None:
    """Store an attempt before the next one begins."""
    names = {column.name for column in tables.attempts.c} - {"task"}
    values: dict[str, Any] = {name: getattr(task, name) for name in names}
    tx.execute(insert(tables.attempts).values(task=task.fid, **values))


def by_fid(tx: Transaction, fids: Collection[str]) -> dict[str, Task]:
    """Return tasks by their fids, in few queries."""
    found = (tx.values(TASKS.rows.where(_tasks.fid.in_(some)), Task) for some in batched(list(fids)))
    return {task.fid: task for some in found for task in some}


def former_attempts(tx: Transaction, tasks: Collection[str]) -> list[Attempt]:
    """Return the former attempts of tasks."""
    former = select(tables.attempts)
    found = (tx.values(former.where(tables.attempts.c.task.in_(some)), Attempt) for some in batched(list(tasks)))
    return [attempt for some in found for attempt in some]


def ran_with(tx: Transaction, fid: str, attempt: int) -> int | None:
    """Return the version of the External that an attempt of a task ran with; None if unknown."""
    present = select(_tasks.external_version).where(_tasks.fid == fid, _tasks.attempt == attempt)
    former = tables.attempts.c
    earlier = select(former.external_version).where(former.task == fid, former.attempt == attempt)
    return tx.execute(present.union_all(earlier)).scalars().first()


def attempts_of(tx: Transaction, fid: str, *, before: int | None, limit: int) -> list[Attempt]:
    """Return a task's attempts, newest first, starting before ``before`` if it is given.

    Raises:
        NotFound: the task does not exist.
    """
    task = objects.get(tx, TASKS, fid)
    former = tables.attempts.c
    wanted = select(tables.attempts).where(former.task == fid).order_by(former.attempt.desc()).limit(limit)
    if before is not None:
        return tx.values(wanted.where(former.attempt < before), Attempt)
    return [present_attempt(task), *tx.values(wanted, Attempt)][:limit]


def failing_before(tx: Transaction, task: Task) -> Failing | None:
    """Return the bad runs of a crawler in a row just before a task's current attempt; None if the last one was good.

    Bad are failed, timed out and withheld attempts; stopped ones do not count.
    """
    former = tables.attempts.c
    of_crawler = (_tasks.stream == task.stream) & (_tasks.crawler == task.crawler)
    is_own = (_tasks.fid == task.fid) & (_tasks.attempt == task.attempt)
    runs = select(_tasks.state, _tasks.reason, _tasks.ended_at).where(of_crawler, ~is_own)
    earlier = select(former.state, former.reason, former.ended_at).join(tables.tasks, _tasks.fid == former.task)
    sides = ((runs, _tasks), (earlier.where(of_crawler, former.ended_at.is_not(None)), former))
    good_at = [
        tx.execute(some.where(*_let_in(of)).order_by(of.started_at.desc()).limit(1)).one_or_none() for some, of in sides
    ]
    last_good = max((row.ended_at for row in good_at if row is not None), default=None)
    ended_at: list[datetime] = []
    count = 0
    for some, of in sides:
        is_bad = of.state.in_([TaskState.FAILED, TaskState.TIMED_OUT]) | (of.reason == Reason.GATE_FAILED)
        if last_good is not None:
            is_bad &= of.ended_at > last_good
        found = some.where(is_bad).subquery()
        counted = select(func.count().label("runs"), func.min(found.c.ended_at).label("since")).select_from(found)
        row = tx.execute(counted).one()
        count += row.runs
        ended_at += [] if row.since is None else [row.since]
    return Failing(runs=count, since=min(ended_at)) if ended_at else None


def last_good_docs(tx: Transaction, like: Task) -> int | None:
    """Return the number of documents of the last published attempt of a task's crawler, of its mode and scope, or None.

    Former attempts count; those of deleted tasks do not.
    """
    former = tables.attempts.c
    matches = (_tasks.crawler == like.crawler) & _tasks.removed_at.is_(None) & (_tasks.mode == like.mode)
    matches &= _has_scope(like.scope)
    runs = select(_tasks.docs, _tasks.ended_at).where(matches, *_let_in(_tasks))
    earlier = select(former.docs, former.ended_at).join(tables.tasks, _tasks.fid == former.task)
    last = [
        tx.execute(some.order_by(ended_at.desc()).limit(1)).one_or_none()
        for some, ended_at in ((runs, _tasks.ended_at), (earlier.where(matches, *_let_in(former)), former.ended_at))
    ]
    found = [(row.ended_at, row.docs) for row in last if row is not None]
    return max(found)[1] if found else None


def _has_scope(scope: Sequence[str] | None) -> ColumnElement[bool]:
    # Compared as text: PostgreSQL has no equality of JSON.
    return _tasks.scope.is_(None) if scope is None else cast(_tasks.scope, Text) == json.dumps(scope)


def _let_in(columns: ReadOnlyColumnCollection[str, Column[Any]]) -> tuple[ColumnElement[bool], ...]:
    return columns.state == TaskState.DONE, columns.reason != Reason.GATE_FAILED


def matching(tx: Transaction, stream: str, wanted: TaskFilter, *, removed: bool, lock: bool = False) -> list[Task]:
    """Return the tasks of a stream that match a filter, oldest first: deleted ones, or those that are not.

    ``lock`` prevents changes by others until the transaction ends.

    Raises:
        RequestInvalid: the filter names tasks that are not of this stream.
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
    # Compared here, as texts: databases, and Python (True == 1), differ on equality in JSON.
    return [
        task
        for task in tx.values(found.with_for_update() if lock else found, Task)
        if all(name in task.params and _as_text(task.params[name]) == _as_text(value) for name, value in params)
    ]


def _as_text(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def mark_removed(tx: Transaction, removed: Sequence[Task], *, version: int | None, at: datetime) -> None:
    """Mark locked tasks as removed from their stream by a version."""
    _mark(tx, removed, at=at, removed_at=at, removed_version=version, retry_at=None)


def mark_restored(tx: Transaction, restored: Sequence[Task], *, at: datetime) -> None:
    """Mark locked tasks as part of their stream again."""
    _mark(tx, restored, at=at, removed_at=None, removed_version=None)


def _mark(tx: Transaction, marked: Sequence[Task], *, at: datetime, **values: Any) -> None:
    for some in batched([task.fid for task in marked]):
        statement = update(tables.tasks).where(_tasks.fid.in_(some))
        tx.execute(statement.values(version=_tasks.version + 1, updated_at=at, **values))
    for task in marked:
        events.append(tx, edit(TASKS.singular, task, replace(task, **objects.edited(at, task.version), **values)))


def to_sum_up(tx: Transaction, *, limit: int, but: Sequence[str] = ()) -> list[Task]:
    """Return tasks that have ended and whose changes are not counted yet, except some."""
    made = streams.made_by_attempt(_tasks.fid, _tasks.attempt).scalar_subquery()
    replaced = streams.replaced_by_attempt(_tasks.fid, _tasks.attempt).scalar_subquery()
    kept = select(tables.streams.c.purged_version).where(tables.streams.c.fid == _tasks.stream).scalar_subquery()
    # The changes of a task before the retained versions can no longer be computed.
    is_kept = made.is_(None) | ((made > kept) & (replaced.is_(None) | (replaced > kept)))
    wanted = TASKS.rows.where(_tasks.summary.is_(None), _tasks.ended_at.is_not(None), is_kept, _tasks.fid.not_in(but))
    return tx.values(wanted.limit(limit), Task)


def summed_up(tx: Transaction, task: Task, counts: Counts) -> None:
    """Store the counts of what an attempt changed in its stream, if its task is unchanged since they were computed."""
    # At that version of the task: the counts differ once a person has published it, for example.
    matches = (_tasks.fid == task.fid) & (_tasks.version == task.version) & _tasks.ended_at.is_not(None)
    tx.execute(update(tables.tasks).where(matches).values(summary=asdict(counts)))


def strangers(tx: Transaction, stream: str, fids: Collection[str]) -> list[str]:
    """Return those of the fids that are not tasks of a stream."""
    known = set(tx.execute(select(_tasks.fid).where(_tasks.stream == stream, _tasks.fid.in_(fids))).scalars())
    return sorted(set(fids) - known)


def silent_since(tx: Transaction, at: datetime, *, limit: int) -> list[Task]:
    """Return open tasks whose crawler has missed its deadline, longest silent first, locked for update."""
    # Ordered by deadline, not fid: PostgreSQL would otherwise scan the primary key over years of ended tasks.
    wanted = TASKS.rows.where(_tasks.deadline <= at).order_by(_tasks.deadline).limit(limit)
    return tx.values(wanted.with_for_update(skip_locked=True), Task)


def next_deadline(tx: Transaction) -> datetime | None:
    """Return when the next open task times out; None if there is none."""
    return tx.execute(select(func.min(_tasks.deadline)).where(_tasks.deadline.is_not(None))).scalar_one()


def next_retry(tx: Transaction) -> datetime | None:
    """Return when the next retry is due of tasks whose crawler has no open one; None if there is none."""
    is_busy = _tasks.crawler.in_(select(_tasks.crawler).where(_IS_OPEN))
    return tx.execute(select(func.min(_tasks.retry_at)).where(_tasks.retry_at.is_not(None), ~is_busy)).scalar_one()


def to_retry(tx: Transaction, *, at: datetime, limit: int) -> list[str]:
    """Return tasks that are due for a retry and whose crawler has no open one, longest due first."""
    is_busy = _tasks.crawler.in_(select(_tasks.crawler).where(_IS_OPEN))
    wanted = select(_tasks.fid).where(_tasks.retry_at <= at, ~is_busy).order_by(_tasks.retry_at).limit(limit)
    return list(tx.execute(wanted).scalars())


def call_off_retries(tx: Transaction, crawler: str, origin: Origin, *, at: datetime) -> None:
    """Cancel the automatic retries of a crawler's tasks of an origin."""
    matches = (_tasks.crawler == crawler) & (_tasks.origin == origin) & _tasks.retry_at.is_not(None)
    called_off = tx.values(TASKS.rows.where(matches).order_by(_tasks.fid).with_for_update(), Task)
    _mark(tx, called_off, at=at, retry_at=None)


def let_retry(tx: Transaction, credential: str, *, at: datetime) -> None:
    """Schedule a retry of tasks that failed because a credential had expired.

    These are the latest tasks of crawlers that use it and have automatic retries left.
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
    """Give overdue tasks a grace period, since no server was there to receive them; return how many."""
    return tx.execute(update(tables.tasks).where(_tasks.deadline <= at).values(deadline=at + grace)).rowcount


def renew_deadlines(tx: Transaction, *, at: datetime) -> int:
    """Restart the silence timer of every task that can time out; return how many there are.

    For when the clock has jumped: deadlines set by the old time are no longer valid.
    """
    timeouts = tx.execute(select(_tasks.timeout).where(_tasks.deadline.is_not(None)).distinct()).scalars().all()
    renewed = 0
    for timeout in timeouts:
        those = (_tasks.deadline.is_not(None)) & (_tasks.timeout == timeout)
        until = at + timedelta(seconds=timeout)
        renewed += tx.execute(update(tables.tasks).where(those).values(deadline=until)).rowcount
    return renewed


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


def of_crawler(tx: Transaction, crawler: str, *, newest: int | None = None) -> list[Task]:
    """Return every task of a crawler, or the ``newest`` ones, oldest first, locked for update."""
    wanted = TASKS.rows.where(_tasks.crawler == crawler).with_for_update()
    if newest is None:
        return tx.values(wanted.order_by(_tasks.fid), Task)
    return tx.values(wanted.order_by(_tasks.fid.desc()).limit(newest), Task)[::-1]
