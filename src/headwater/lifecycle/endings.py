"""Ending tasks from our side, and letting their ECs know."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from headwater.catalog import credentials, externals, notices, objects, tasks
from headwater.catalog.notices import Notice, NoticeKind
from headwater.catalog.objects import CRAWLERS
from headwater.catalog.transaction import Transaction
from headwater.catalog.vault import Vault
from headwater.domain.external import External
from headwater.domain.fid import new_fid
from headwater.domain.spans import traceparent
from headwater.domain.task import CODE_FAILED, CODE_STOPPED, CODE_TIMED_OUT, Reason, Task, TaskState, move
from headwater.lifecycle import retries

log = structlog.get_logger(__name__)

_ENDS = {
    Reason.SILENT: (TaskState.TIMED_OUT, CODE_TIMED_OUT, "not heard from for {timeout} seconds"),
    Reason.STOPPED_BY_USER: (TaskState.STOPPED, CODE_STOPPED, "stopped"),
    Reason.DELETED_BY_USER: (TaskState.STOPPED, CODE_STOPPED, "deleted"),
}


def end(
    tx: Transaction,
    task: Task,
    reason: Reason,
    *,
    vault: Vault,
    at: datetime,
    pauses: Sequence[float] = retries.PAUSES,
) -> Task:
    """End an open task from our side, and let its EC know, unless it never heard of it."""
    state, code, message = _ENDS[reason]
    ended = move(task, state, code=code, at=at, reason=reason, message=message.format(timeout=task.timeout))
    stored = tasks.change(tx, task, retries.planned(tx, ended, pauses=pauses, at=at), at=at)
    unheard = notices.withdraw(tx, task.fid)
    external = externals.at(tx, task.external, task.external_version)
    if not unheard and not external.is_push:
        notify(tx, stored, external, NoticeKind.END, vault=vault, at=at)
    return stored


def time_out(
    tx: Transaction, *, vault: Vault, at: datetime, limit: int, pauses: Sequence[float] = retries.PAUSES
) -> int:
    """End tasks that were not heard from in time; return how many."""
    silent = tasks.silent_since(tx, at, limit=limit)
    for task in silent:
        end(tx, task, Reason.SILENT, vault=vault, at=at, pauses=pauses)
        log.info("task.timed_out", task=task.fid, crawler=task.crawler, heard_at=task.heard_at)
    return len(silent)


def fail_expired(tx: Transaction, task: Task, *, at: datetime) -> Task | None:
    """Fail a task whose EC has not heard of it, if its crawler's credential has expired; otherwise return None.

    It is not retried by itself, which would fail likewise, until the credential is renewed.
    """
    crawler = objects.get(tx, CRAWLERS, task.crawler)
    credential = None if crawler.login is None else credentials.find(tx, crawler.login)
    if credential is None or not credential.is_expired(at=at):
        return None
    message = (
        f"credential {credential.fid} expired at {credential.expires_at:%Y-%m-%d %H:%M} UTC: renew it "
        f"(GET /externals/{credential.external}/oauth?credential={credential.fid}), and retry this task"
    )
    failed = move(task, TaskState.FAILED, code=CODE_FAILED, at=at, reason=Reason.CREDENTIAL_EXPIRED, message=message)
    log.warning("task.credential_expired", task=task.fid, crawler=task.crawler, credential=credential.fid)
    return tasks.change(tx, task, failed, at=at)


def notify(tx: Transaction, task: Task, external: External, kind: NoticeKind, *, vault: Vault, at: datetime) -> None:
    """Store what an EC is to be told of its task; the dispatcher delivers it."""
    target = {
        "endpoint": external.definition.endpoint,
        "headers": external.definition.headers,
        "version": task.external_version,
        # An end must find its way even when the task is gone by then.
        "callback": task.callback,
        # Sent with it, whenever that will be: to the EC it belongs to the request that asked for it.
        "traceparent": traceparent(),
    }
    notice = Notice(
        fid=new_fid(at),
        task=task.fid,
        attempt=task.attempt,
        kind=kind,
        sealed_target=vault.seal(target),
        code=task.code,
        message=task.message,
        due_at=at,
        created_at=at,
    )
    notices.add(tx, notice)
