"""Automatic retries of failed tasks: whether and when."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from headwater.catalog import externals, objects, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS, TASKS
from headwater.domain.crawler import Crawler
from headwater.domain.task import Task, TaskState

log = structlog.get_logger(__name__)

#: Backoff in seconds before automatic retries of a task; the last value repeats.
PAUSES = (60.0, 300.0, 900.0, 3600.0)

_UNLUCKY = frozenset({TaskState.FAILED, TaskState.TIMED_OUT})


def planned(tx: Transaction, ended: Task, *, backoff: Sequence[float], at: datetime) -> Task:
    """Return a task that has just ended, with the time of its automatic retry if its crawler wants one."""
    if ended.state not in _UNLUCKY:
        return ended
    crawler: Crawler = objects.get(tx, CRAWLERS, ended.crawler)
    if ended.retried >= crawler.retries:
        return ended
    if externals.to_run(tx, ended.external).is_push:
        return ended  # its External has become a push External, which the server cannot start
    pause = backoff[min(ended.retried, len(backoff) - 1)]
    return replace(ended, retry_at=at + timedelta(seconds=pause))


def is_due(task: Task, *, at: datetime) -> bool:
    """Return whether a task's automatic retry is due."""
    return not task.is_open and task.removed_at is None and task.retry_at is not None and task.retry_at <= at


def give_up(tx: Transaction, fid: str, why: str, *, at: datetime) -> None:
    """Cancel an automatic retry that is due but impossible, and record why in the task."""
    task = objects.find(tx, TASKS, fid, lock=True)
    if task is not None and is_due(task, at=at):
        message = f"{task.message}; not retried: {why}" if task.message else f"not retried: {why}"
        tasks.change(tx, task, replace(task, retry_at=None, message=message), at=at)
        log.warning("task.not_retried", task=fid, crawler=task.crawler, why=why)
