"""Scheduled runs of crawlers: start or skip the one that is due."""

from datetime import datetime

import structlog

from headwater.catalog import crawlers, objects, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS
from headwater.catalog.vault import Vault
from headwater.domain.crawler import Crawler
from headwater.domain.errors import RequestInvalid
from headwater.domain.schedule import Rng, next_run
from headwater.domain.task import Origin
from headwater.lifecycle import tasks as task_actions
from headwater.lifecycle.tasks import Opened

log = structlog.get_logger(__name__)


def run_due(tx: Transaction, fid: str, *, vault: Vault, at: datetime, rng: Rng) -> Opened | None:
    """Start the due run of a crawler, or skip it if one is open; None if nothing is due (any more).

    Any number of missed runs becomes one; the next one is scheduled in the future.

    Raises:
        RequestInvalid, ParametersInvalid: it cannot be started.
    """
    crawler = _claimed(tx, fid, at=at, rng=rng)
    if crawler is None:
        return None
    opened = task_actions.create(tx, fid, {}, vault=vault, origin=Origin.SCHEDULE, at=at)
    if opened.push:
        raise RequestInvalid("its External has no endpoint any more, so that a script would have to begin it")
    if opened.begun:
        # The new run replaces the retries of former scheduled runs.
        tasks.call_off_retries(tx, fid, Origin.SCHEDULE, at=at)
        log.info("schedule.started", crawler=fid, task=opened.task.fid, due_at=crawler.next_run_at)
    else:
        _skip(tx, crawler, f"task {opened.task.fid} was open ({opened.task.state})", at=at)
    return opened


def skip_due(tx: Transaction, fid: str, why: str, *, at: datetime, rng: Rng) -> None:
    """Skip the due run of a crawler, and record why in the crawler."""
    crawler = _claimed(tx, fid, at=at, rng=rng)
    if crawler is not None:
        _skip(tx, crawler, why, at=at)


def _claimed(tx: Transaction, fid: str, *, at: datetime, rng: Rng) -> Crawler | None:
    """Schedule a crawler's next run, and return the crawler as it was; None if another process has claimed the run."""
    crawler = objects.find(tx, CRAWLERS, fid, lock=True)
    if crawler is None or crawler.next_run_at is None or crawler.next_run_at > at:
        return None
    plan = next_run(crawler.schedule, after=at, last=crawler.planned_at, rng=rng)
    return crawler if crawlers.claim(tx, crawler, plan) else None


def _skip(tx: Transaction, crawler: Crawler, why: str, *, at: datetime) -> None:
    crawlers.skipped(tx, crawler, why, at=at)
    log.warning("schedule.skipped", crawler=crawler.fid, due_at=crawler.next_run_at, why=why)
