"""Whether a task that failed is run again by itself, and when."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from headwater.catalog import externals, objects, tasks
from headwater.catalog.objects import CRAWLERS, TASKS
from headwater.catalog.transaction import Transaction
from headwater.domain.crawler import Crawler
from headwater.domain.task import Task, TaskState

log = structlog.get_logger(__name__)

#: Seconds before each automatic retry of a task; the last one holds for all that follow.
PAUSES = (60.0, 300.0, 900.0, 3600.0)

_UNLUCKY = frozenset({TaskState.FAILED, TaskState.TIMED_OUT})


def planned(tx: Transaction, ended: Task, *, pauses: Sequence[float], at: datetime) -> Task:
    """Return a task that has just ended, with the moment at which it is to be retried if its crawler wants that."""
    if ended.state not in _UNLUCKY:
        return ended
    crawler: Crawler = objects.get(tx, CRAWLERS, ended.crawler)
    if ended.retried >= crawler.retries:
        return ended
    if externals.to_run(tx, ended.external).is_push:
        return ended  # it has become one whose script nobody would start
    pause = pauses[min(ended.retried, len(pauses) - 1)]
    return replace(ended, retry_at=at + timedelta(seconds=pause))


def is_due(task: Task, *, at: datetime) -> bool:
    """Whether a task is to be retried by now."""
    return not task.is_open and task.removed_at is None and task.retry_at is not None and task.retry_at <= at


def give_up(tx: Transaction, fid: str, why: str, *, at: datetime) -> None:
    """Let a task rest that is due and cannot be retried, and say why where its owner looks."""
    task = objects.find(tx, TASKS, fid, lock=True)
    if task is not None and is_due(task, at=at):
        said = f"{task.message}; not retried: {why}" if task.message else f"not retried: {why}"
        tasks.change(tx, task, replace(task, retry_at=None, message=said), at=at)
        log.warning("task.not_retried", task=fid, crawler=task.crawler, why=why)
