"""Ending tasks from the server's side, and notifying their ECs."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from headwater.catalog import credentials, externals, notices, objects, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.notices import Notice, NoticeKind
from headwater.catalog.objects import CRAWLERS
from headwater.catalog.vault import Vault
from headwater.domain.external import External
from headwater.domain.ids import new_fid
from headwater.domain.task import CODE_FAILED, CODE_STOPPED, CODE_TIMED_OUT, Reason, Task, TaskState, move
from headwater.domain.tracing import traceparent
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
    backoff: Sequence[float] = retries.PAUSES,
) -> Task:
    """End an open task from the server's side, and notify its EC unless its start was never delivered."""
    state, code, message = _ENDS[reason]
    ended = move(task, state, code=code, at=at, reason=reason, message=message.format(timeout=task.timeout))
    stored = tasks.change(tx, task, retries.planned(tx, ended, backoff=backoff, at=at), at=at)
    unheard = notices.withdraw(tx, task.fid)
    external = externals.at(tx, task.external, task.external_version)
    if not unheard and not external.is_push:
        notify(tx, stored, external, NoticeKind.END, vault=vault, at=at)
    return stored


def time_out(
    tx: Transaction, *, vault: Vault, at: datetime, limit: int, backoff: Sequence[float] = retries.PAUSES
) -> int:
    """Time out tasks whose deadline has passed; return how many."""
    silent = tasks.silent_since(tx, at, limit=limit)
    for task in silent:
        end(tx, task, Reason.SILENT, vault=vault, at=at, backoff=backoff)
        log.info("task.timed_out", task=task.fid, crawler=task.crawler, heard_at=task.heard_at)
    return len(silent)


def fail_expired(tx: Transaction, task: Task, *, at: datetime) -> Task | None:
    """Fail a task that was never delivered, if its crawler's credential has expired; otherwise return None.

    It is not retried automatically, which would fail again, until the credential is renewed.
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
    """Store a notice for an EC about its task; the dispatcher delivers it."""
    target = {
        "endpoint": external.definition.endpoint,
        "headers": vault.unseal_headers(external.definition.headers),
        "version": task.external_version,
        # The end must be deliverable even if the task is deleted by then.
        "callback": task.callback,
        # Links the call, whenever it is made, to the request that caused it.
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
