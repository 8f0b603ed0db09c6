"""Actions on tasks. Each is one transaction without network access.

Calls to the EC that an action entails are stored as notices in the same transaction; ``ec/dispatcher.py`` sends them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from headwater.catalog import externals, idempotency, notices, objects, segments, settled, streams, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.notices import Notice, NoticeKind
from headwater.catalog.objects import CRAWLERS, STREAMS, TASKS
from headwater.catalog.vault import Vault, keep_redacted
from headwater.domain.crawler import Crawler
from headwater.domain.errors import Flaw, MovedMeanwhile, NotFound, RequestInvalid, TaskRemoved
from headwater.domain.external import External
from headwater.domain.ids import new_fid
from headwater.domain.parameter import check_parameters
from headwater.domain.stream import Change
from headwater.domain.task import (
    CODE_NEW,
    CODE_RUNNING,
    OPEN,
    REPORTED,
    Mode,
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
from headwater.lifecycle import publication, retries, task_end

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The result of a start or a retry."""

    task: Task
    #: Whether an attempt has begun; otherwise ``task`` is the open task that prevented it.
    begun: bool
    #: Whether its crawler is a script that runs and uploads on its own (a push External).
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
    mode: Mode | None = None,
    scope: list[str] | None = None,
) -> Opened:
    """Start a run of a crawler, or return its open one; ``version`` is its External's, by default the published one.

    Its mode and scope are those of the crawler unless they are given; an empty scope means everything.

    Raises:
        NotFound: there is no such crawler, or no such version of its External.
        ParametersInvalid: the crawler's parameters merged with the overrides do not fit the External.
        RequestInvalid: a scope is given, and the run is no snapshot.
    """
    crawler = objects.get(tx, CRAWLERS, crawler_fid)
    external = externals.to_run(tx, crawler.external, version)
    mode = mode or crawler.mode
    if scope and mode is not Mode.SNAPSHOT:
        detail = "a scope goes with the mode snapshot; leave it out, or start the run with mode=snapshot"
        raise RequestInvalid(detail, flaws=[Flaw(pointer="/scope", detail=detail)])
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
        mode=mode,
        scope=_scope(crawler, mode, scope),
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
    tx.annotate(crawler=crawler.fid, params=sorted(overrides), external_version=external.version)
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
    automatic: bool = False,
) -> Opened:
    """Start the next attempt of a task, or return the open task of its crawler; ``version`` is as for a new task.

    ``automatic`` marks a retry that no person asked for; a manual one resets the count of automatic retries.

    Raises:
        NotFound: there is no such crawler or version, or the task belongs to another crawler.
        TaskRemoved: the task is deleted.
        RunSettled: it is settled; a successful attempt would replace its documents.
        ParametersInvalid: the task's parameters merged with the overrides do not fit the External.
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
    settled.require_undoable(tx, objects.get(tx, STREAMS, task.stream), [fid])
    next_attempt = again(
        task,
        params=_params(external, task.params, overrides, vault),
        external_version=external.version,
        timeout=crawler.timeout,
        publish=crawler.publish,
        deadline=_first_deadline(external, crawler, at),
        retried=task.retried + 1 if automatic else 0,
        at=at,
    )
    # The EC is about to be started again; a pending notice of the former attempt's end is obsolete.
    notices.withdraw(tx, fid)
    stored, begun = tasks.reopen(tx, task, next_attempt)
    tx.annotate(attempt=next_attempt.attempt, params=sorted(overrides), external_version=external.version)
    if begun:
        tasks.archive(tx, task)
        idempotency.forget(tx, fid)
    return _opened(tx, stored, external, vault, begun=begun, at=at)


def retry_due(tx: Transaction, fid: str, *, vault: Vault, at: datetime) -> Opened | None:
    """Start the automatic retry of a task, unless it is not due any more.

    Raises:
        ParametersInvalid: the task's parameters no longer fit the External.
    """
    task = objects.find(tx, TASKS, fid, lock=True)
    if task is None or not retries.is_due(task, at=at):
        return None
    opened = retry(tx, task.crawler, fid, {}, vault=vault, at=at, automatic=True)
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
    backoff: Sequence[float] = retries.PAUSES,
) -> Task:
    """Record a crawler's status report; ``attempt`` is the one that it reports on, if it named one.

    Raises:
        RequestInvalid: the code is not one that may be reported.
        NotFound, TaskRemoved, TaskClosed, MovedMeanwhile: the task takes no reports (any more).
    """
    state = state_of(code)
    task = objects.get(tx, TASKS, fid, lock=True)
    if attempt is not None and attempt != task.attempt:
        raise MovedMeanwhile(f"attempt {attempt} of task {fid} is over: it is at attempt {task.attempt} now")
    if task.removed_at is None and not task.is_open and task.reason in REPORTED and task.code == code:
        return task  # reported before
    require_open(task)
    moved = _reported(tx, task, state, code=code, message=message, detail=detail, at=at, backoff=backoff)
    return tasks.change(tx, task, moved, at=at)


def stop(tx: Transaction, fid: str, *, vault: Vault, at: datetime) -> Task:
    """Stop a task on a person's request and keep its documents; cancel its automatic retry if one is planned.

    Raises:
        NotFound, TaskRemoved, TaskClosed: there is nothing to stop.
    """
    task = objects.get(tx, TASKS, fid, lock=True)
    if task.state is TaskState.STOPPED and task.removed_at is None:
        return task
    if task.retry_at is not None:
        return tasks.change(tx, task, replace(task, retry_at=None), at=at)
    require_open(task)
    return task_end.end(tx, task, Reason.STOPPED_BY_USER, vault=vault, at=at)


def delete(tx: Transaction, fid: str, *, vault: Vault, at: datetime, with_stream: bool = False) -> Task:
    """Delete a task: remove its documents from the stream in one step, and end it if it is open.

    A settled task can only be deleted ``with_stream``, that is with all tasks of its stream.

    Raises:
        NotFound: there is no such task.
        RunSettled: it is settled.
    """
    task = objects.get(tx, TASKS, fid, lock=True)
    if task.removed_at is not None:
        return task
    if not with_stream:
        # Locked, so that the run does not settle meanwhile.
        settled.require_undoable(tx, objects.get(tx, STREAMS, task.stream, lock=True), [fid])
    if task.is_open:
        task = task_end.end(tx, task, Reason.DELETED_BY_USER, vault=vault, at=at)
    version = take_out(tx, task, at=at)
    tx.annotate(stream=task.stream, stream_version=version)
    return tasks.change(tx, task, replace(task, removed_at=at, removed_version=version, retry_at=None), at=at)


def restore(tx: Transaction, fid: str, *, at: datetime) -> Task:
    """Restore a deleted task: its documents return at their place in the order.

    Raises:
        NotFound: there is no such task.
        TaskPurged: its documents are purged.
    """
    task = objects.get(tx, TASKS, fid, lock=True)
    if task.removed_at is None:
        return task
    # Locked, so that no segment is merged or purged meanwhile.
    require_unpurged(task, objects.get(tx, STREAMS, task.stream, lock=True))
    gone = segments.removed_with(tx, [task])
    if gone:
        docs = sum(segment.docs for segment in gone)
        version = streams.advance(tx, task, Change.RESTORE, docs=docs, at=at)
        segments.put_back(tx, gone, version=version, at=at)
        tx.annotate(stream=task.stream, stream_version=version)
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
    backoff: Sequence[float] = retries.PAUSES,
) -> None:
    """Record the EC's response to a start."""
    notices.done(tx, notice)
    task = told_of(tx, notice, lock=True)
    if task is None:
        return
    updated = replace(task, callback=callback)
    if not task.is_open:
        tasks.change(tx, task, updated, at=at)  # kept: its EC has yet to be notified of the end, there
    elif task.state is TaskState.RUNNING and code == CODE_RUNNING:
        # What it has reported meanwhile is more recent than the acceptance.
        tasks.heard(tx, tasks.change(tx, task, updated, at=at), at=at)
    else:
        moved = _reported(
            tx, updated, state_of(code), code=code, message=message, detail=detail, at=at, backoff=backoff
        )
        tasks.change(tx, task, moved, at=at)


def not_started(
    tx: Transaction,
    notice: Notice,
    *,
    code: int,
    message: str,
    detail: Any,
    at: datetime,
    backoff: Sequence[float] = retries.PAUSES,
) -> None:
    """Fail a task that its EC did not accept."""
    notices.done(tx, notice)
    task = told_of(tx, notice, lock=True)
    if task is None or not task.is_open:
        return
    failed = move(task, TaskState.FAILED, code=code, at=at, reason=Reason.START_FAILED, message=message, detail=detail)
    tasks.change(tx, task, retries.planned(tx, failed, backoff=backoff, at=at), at=at)


def told_of(tx: Transaction, notice: Notice, *, lock: bool = False) -> Task | None:
    """Return the task of a notice; None if it is gone, or at another attempt by now."""
    task = objects.find(tx, TASKS, notice.task, lock=lock)
    return None if task is None or task.attempt != notice.attempt else task


def take_out(tx: Transaction, task: Task, *, at: datetime) -> int | None:
    """Make a task's segments invisible; return the stream version that does so, None if none was visible."""
    shown = segments.shown(task.fid)
    docs = segments.docs_in(tx, shown)
    if docs is None:
        return None
    version = streams.advance(tx, task, Change.REMOVE, docs=docs, at=at)
    segments.take_out(tx, shown, version=version)
    return version


def _opened(tx: Transaction, task: Task, external: External, vault: Vault, *, begun: bool, at: datetime) -> Opened:
    if begun and not external.is_push:
        expired = task_end.fail_expired(tx, task, at=at)
        if expired is not None:
            return Opened(task=expired, begun=True, push=False)
        task_end.notify(tx, task, external, NoticeKind.START, vault=vault, at=at)
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
    backoff: Sequence[float],
) -> Task:
    """Return a task with a crawler's report applied, to be stored."""
    reason = None if state in OPEN else Reason.REPORTED
    moved = replace(move(task, state, code=code, at=at, reason=reason, message=message, detail=detail), heard_at=at)
    if state is TaskState.DONE:
        moved = publication.judge(tx, task, moved, at=at)
    return retries.planned(tx, moved, backoff=backoff, at=at)


def _scope(crawler: Crawler, mode: Mode, given: list[str] | None) -> list[str] | None:
    scope = crawler.scope if given is None else given
    return (scope or None) if mode is Mode.SNAPSHOT else None


def _params(external: External, stored: Mapping[str, Any], given: Mapping[str, Any], vault: Vault) -> dict[str, Any]:
    parameters = external.definition.parameters
    merged = vault.unseal_passwords({**stored, **keep_redacted(stored, given)})
    return vault.seal_passwords(parameters, check_parameters(parameters, merged))


def _first_deadline(external: External, crawler: Crawler, at: datetime) -> datetime | None:
    # An EC's timeout runs from its response: until then the start waits in the catalog, however long we are down.
    return at + timedelta(seconds=crawler.timeout) if external.is_push else None
