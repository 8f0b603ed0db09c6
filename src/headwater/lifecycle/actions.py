"""What can be done with a task: each action is one transaction, with no network in it.

What an EC is to hear of an action is written as a notice with it; ``dispatcher.py`` delivers it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from headwater.catalog import externals, notices, objects, receipts, segments, streams, tasks
from headwater.catalog.notices import Notice, NoticeKind
from headwater.catalog.objects import CRAWLERS, STREAMS, TASKS
from headwater.catalog.transaction import Transaction
from headwater.catalog.vault import Vault, keep_redacted
from headwater.domain.crawler import Crawler
from headwater.domain.errors import MovedMeanwhile, NotFound, RequestInvalid, TaskRemoved
from headwater.domain.external import External
from headwater.domain.fid import new_fid
from headwater.domain.parameter import check_parameters
from headwater.domain.stream import Change
from headwater.domain.task import (
    CODE_NEW,
    CODE_RUNNING,
    OPEN,
    REPORTED,
    Origin,
    Reason,
    Task,
    TaskState,
    again,
    move,
    require_open,
    require_unpurged,
    state_of,
)
from headwater.lifecycle import endings, publishing, retries

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a creation or a retry came to."""

    task: Task
    #: Whether it began an attempt; otherwise ``task`` is the open task that was in its way.
    begun: bool
    #: Whether its crawler is a script that uploads by itself (a push External).
    push: bool


def create(
    tx: Transaction,
    crawler_fid: str,
    overrides: Mapping[str, Any],
    *,
    vault: Vault,
    origin: Origin,
    at: datetime,
    version: int | None = None,
) -> Opened:
    """Start a run of a crawler, or return its open one; ``version`` is its External's, otherwise the one in use.

    Raises:
        NotFound: there is no such crawler, or no such version of its External.
        ParametersInvalid: crawler's parameters and overrides do not fit the External together.
    """
    crawler = objects.get(tx, CRAWLERS, crawler_fid)
    external = externals.to_run(tx, crawler.external, version)
    present = tasks.open_of(tx, crawler.fid)
    if present is not None:
        return Opened(task=present, begun=False, push=external.is_push)
    task = Task(
        fid=new_fid(at),
        crawler=crawler.fid,
        stream=crawler.stream,
        external=external.fid,
        external_version=external.version,
        params=_params(external, crawler.params, overrides, vault),
        timeout=crawler.timeout,
        publish=crawler.publish,
        attempt=1,
        origin=origin,
        code=CODE_NEW,
        state=TaskState.NEW,
        started_at=at,
        deadline=_first_deadline(external, crawler, at),
        created_at=at,
        updated_at=at,
        version=1,
        meta={},
    )
    stored, begun = tasks.add(tx, task)
    tx.note(crawler=crawler.fid, params=sorted(overrides), external_version=external.version)
    return _opened(tx, stored, external, vault, begun=begun, at=at)


def retry(
    tx: Transaction,
    crawler_fid: str,
    fid: str,
    overrides: Mapping[str, Any],
    *,
    vault: Vault,
    at: datetime,
    version: int | None = None,
    by_itself: bool = False,
) -> Opened:
    """Begin the next attempt of a task, or return the open task of its crawler; ``version`` is as for a new task.

    ``by_itself`` says that no person asks for it, whose word would begin to count automatic retries anew.

    Raises:
        NotFound: there is no such crawler or version, or the task is not its.
        TaskRemoved: the task is deleted.
        ParametersInvalid: the task's parameters and overrides do not fit the External together.
    """
    crawler = objects.get(tx, CRAWLERS, crawler_fid)
    task = objects.get(tx, TASKS, fid, lock=True)
    if task.crawler != crawler.fid:
        raise NotFound(f"crawler {crawler_fid} has no task {fid!r}")
    external = externals.to_run(tx, crawler.external, version)
    present = tasks.open_of(tx, crawler.fid)
    if present is not None:
        return Opened(task=present, begun=False, push=external.is_push)
    if task.removed_at is not None:
        raise TaskRemoved(f"task {fid} is deleted; restore it before you retry it")
    next_attempt = again(
        task,
        params=_params(external, task.params, overrides, vault),
        external_version=external.version,
        timeout=crawler.timeout,
        publish=crawler.publish,
        deadline=_first_deadline(external, crawler, at),
        retried=task.retried + 1 if by_itself else 0,
        at=at,
    )
    # The EC is about to hear of this task again; that a former attempt ended is old news.
    notices.withdraw(tx, fid)
    stored, begun = tasks.reopen(tx, task, next_attempt)
    tx.note(attempt=next_attempt.attempt, params=sorted(overrides), external_version=external.version)
    if begun:
        tasks.archive(tx, task)
        receipts.forget(tx, fid)
    return _opened(tx, stored, external, vault, begun=begun, at=at)


def retry_due(tx: Transaction, fid: str, *, vault: Vault, at: datetime) -> Opened | None:
    """Begin the next attempt of a task that is to be retried by itself, unless that is over.

    Raises:
        ParametersInvalid: the task's parameters do not fit the External any more.
    """
    task = objects.find(tx, TASKS, fid, lock=True)
    if task is None or not retries.is_due(task, at=at):
        return None
    opened = retry(tx, task.crawler, fid, {}, vault=vault, at=at, by_itself=True)
    if opened.push:
        raise RequestInvalid("its External has no endpoint any more, so that a script would have to begin it")
    if opened.begun:
        log.info("task.retried", task=fid, crawler=task.crawler, attempt=opened.task.attempt)
    return opened


def report(
    tx: Transaction,
    fid: str,
    *,
    attempt: int | None,
    code: int,
    message: str | None,
    detail: Any,
    at: datetime,
    pauses: Sequence[float] = retries.PAUSES,
) -> Task:
    """Take a crawler's word on how its task goes; ``attempt`` is the one that it speaks for, if it said so.

    Raises:
        RequestInvalid: the code is none that may be reported.
        NotFound, TaskRemoved, TaskClosed, MovedMeanwhile: the task takes no report (any more).
    """
    state = state_of(code)
    task = objects.get(tx, TASKS, fid, lock=True)
    if attempt is not None and attempt != task.attempt:
        raise MovedMeanwhile(f"attempt {attempt} of task {fid} is over: it is at attempt {task.attempt} now")
    if task.removed_at is None and not task.is_open and task.reason in REPORTED and task.code == code:
        return task  # said before, and heard
    require_open(task)
    moved = _reported(tx, task, state, code=code, message=message, detail=detail, at=at, pauses=pauses)
    return tasks.change(tx, task, moved, at=at)


def stop(tx: Transaction, fid: str, *, vault: Vault, at: datetime) -> Task:
    """End a task that a person wants no more of, and keep its documents; one that is to be retried is not.

    Raises:
        NotFound, TaskRemoved, TaskClosed: there is nothing to stop.
    """
    task = objects.get(tx, TASKS, fid, lock=True)
    if task.state is TaskState.STOPPED and task.removed_at is None:
        return task
    if task.retry_at is not None:
        return tasks.change(tx, task, replace(task, retry_at=None), at=at)
    require_open(task)
    return endings.end(tx, task, Reason.STOPPED_BY_USER, vault=vault, at=at)


def delete(tx: Transaction, fid: str, *, vault: Vault, at: datetime) -> Task:
    """Take a task's documents out of its stream, at once and whole, and end it if it is open.

    Raises:
        NotFound: there is no such task.
    """
    task = objects.get(tx, TASKS, fid, lock=True)
    if task.removed_at is not None:
        return task
    if task.is_open:
        task = endings.end(tx, task, Reason.DELETED_BY_USER, vault=vault, at=at)
    version = take_out(tx, task, at=at)
    tx.note(stream=task.stream, stream_version=version)
    return tasks.change(tx, task, replace(task, removed_at=at, removed_version=version, retry_at=None), at=at)


def restore(tx: Transaction, fid: str, *, at: datetime) -> Task:
    """Put a deleted task's documents back at their place in the order.

    Raises:
        NotFound: there is no such task.
        TaskPurged: its documents are purged.
    """
    task = objects.get(tx, TASKS, fid, lock=True)
    if task.removed_at is None:
        return task
    # Locked, so that the files that are read of now are those that are named then.
    require_unpurged(task, objects.get(tx, STREAMS, task.stream, lock=True))
    gone = segments.removed_with(tx, [task])
    if gone:
        docs = sum(segment.docs for segment in gone)
        version = streams.advance(tx, task, Change.RESTORE, docs=docs, at=at)
        segments.put_back(tx, gone, version=version, at=at)
        tx.note(stream=task.stream, stream_version=version)
    return tasks.change(tx, task, replace(task, removed_at=None, removed_version=None), at=at)


def started(
    tx: Transaction,
    notice: Notice,
    *,
    callback: str | None,
    code: int,
    message: str | None,
    detail: Any,
    at: datetime,
    pauses: Sequence[float] = retries.PAUSES,
) -> None:
    """Take the EC's answer to a start."""
    notices.done(tx, notice)
    task = told_of(tx, notice, lock=True)
    if task is None:
        return
    told = replace(task, callback=callback)
    if not task.is_open:
        tasks.change(tx, task, told, at=at)  # kept: its EC has yet to hear that it has ended, there
    elif task.state is TaskState.RUNNING and code == CODE_RUNNING:
        # What it has reported meanwhile says more than that it took the task.
        tasks.heard(tx, tasks.change(tx, task, told, at=at), at=at)
    else:
        moved = _reported(tx, told, state_of(code), code=code, message=message, detail=detail, at=at, pauses=pauses)
        tasks.change(tx, task, moved, at=at)


def not_started(
    tx: Transaction,
    notice: Notice,
    *,
    code: int,
    message: str,
    detail: Any,
    at: datetime,
    pauses: Sequence[float] = retries.PAUSES,
) -> None:
    """Fail a task that its EC did not take."""
    notices.done(tx, notice)
    task = told_of(tx, notice, lock=True)
    if task is None or not task.is_open:
        return
    failed = move(task, TaskState.FAILED, code=code, at=at, reason=Reason.START_FAILED, message=message, detail=detail)
    tasks.change(tx, task, retries.planned(tx, failed, pauses=pauses, at=at), at=at)


def told_of(tx: Transaction, notice: Notice, *, lock: bool = False) -> Task | None:
    """Return the task that a notice tells of; None if it is gone, or at another attempt by now."""
    task = objects.find(tx, TASKS, notice.task, lock=lock)
    return None if task is None or task.attempt != notice.attempt else task


def take_out(tx: Transaction, task: Task, *, at: datetime) -> int | None:
    """Make what a task put into its stream invisible; return the stream version that did, None if nothing showed."""
    shown = segments.shown(task.fid)
    docs = segments.docs_in(tx, shown)
    if docs is None:
        return None
    version = streams.advance(tx, task, Change.REMOVE, docs=docs, at=at)
    segments.take_out(tx, shown, version=version)
    return version


def _opened(tx: Transaction, task: Task, external: External, vault: Vault, *, begun: bool, at: datetime) -> Opened:
    if begun and not external.is_push:
        expired = endings.fail_expired(tx, task, at=at)
        if expired is not None:
            return Opened(task=expired, begun=True, push=False)
        endings.notify(tx, task, external, NoticeKind.START, vault=vault, at=at)
    return Opened(task=task, begun=begun, push=external.is_push)


def _reported(
    tx: Transaction,
    task: Task,
    state: TaskState,
    *,
    code: int,
    message: str | None,
    detail: Any,
    at: datetime,
    pauses: Sequence[float],
) -> Task:
    """Return a task as what its crawler says of it makes it, to be stored."""
    reason = None if state in OPEN else Reason.REPORTED
    moved = replace(move(task, state, code=code, at=at, reason=reason, message=message, detail=detail), heard_at=at)
    if state is TaskState.DONE:
        moved = publishing.judge(tx, task, moved, at=at)
    return retries.planned(tx, moved, pauses=pauses, at=at)


def _params(external: External, stored: Mapping[str, Any], given: Mapping[str, Any], vault: Vault) -> dict[str, Any]:
    parameters = external.definition.parameters
    merged = vault.unseal_passwords({**stored, **keep_redacted(stored, given)})
    return vault.seal_passwords(parameters, check_parameters(parameters, merged))


def _first_deadline(external: External, crawler: Crawler, at: datetime) -> datetime | None:
    # An EC's silence counts from its answer: until then the start waits with us, however long we are down.
    return at + timedelta(seconds=crawler.timeout) if external.is_push else None
