"""Runs that are due by a schedule."""

from datetime import datetime

import structlog

from headwater.catalog import crawlers, objects, tasks
from headwater.catalog.objects import CRAWLERS
from headwater.catalog.transaction import Transaction
from headwater.catalog.vault import Vault
from headwater.domain.crawler import Crawler
from headwater.domain.errors import RequestInvalid
from headwater.domain.schedule import Dice, next_run
from headwater.domain.task import Origin
from headwater.lifecycle import actions
from headwater.lifecycle.actions import Opened

log = structlog.get_logger(__name__)


def run_due(tx: Transaction, fid: str, *, vault: Vault, at: datetime, dice: Dice) -> Opened | None:
    """Start the run of a crawler that is due, or skip it if one is open; None if somebody else has, or nothing is due.

    However many runs were missed, it is one, and the next one lies ahead.

    Raises:
        RequestInvalid, ParametersInvalid: it cannot be started.
    """
    crawler = _claimed(tx, fid, at=at, dice=dice)
    if crawler is None:
        return None
    opened = actions.create(tx, fid, {}, vault=vault, origin=Origin.SCHEDULE, at=at)
    if opened.push:
        raise RequestInvalid("its External has no endpoint any more, so that a script would have to begin it")
    if opened.begun:
        # The new run is what they would have been.
        tasks.call_off_retries(tx, fid, Origin.SCHEDULE, at=at)
        log.info("schedule.started", crawler=fid, task=opened.task.fid, due_at=crawler.next_run_at)
    else:
        _skip(tx, crawler, f"task {opened.task.fid} was open ({opened.task.state})", at=at)
    return opened


def skip_due(tx: Transaction, fid: str, why: str, *, at: datetime, dice: Dice) -> None:
    """Skip the run of a crawler that is due, and say why where its owner looks."""
    crawler = _claimed(tx, fid, at=at, dice=dice)
    if crawler is not None:
        _skip(tx, crawler, why, at=at)


def _claimed(tx: Transaction, fid: str, *, at: datetime, dice: Dice) -> Crawler | None:
    """Set when a crawler's next run is, and return the crawler as it was; None if its run is not ours."""
    crawler = objects.find(tx, CRAWLERS, fid, lock=True)
    if crawler is None or crawler.next_run_at is None or crawler.next_run_at > at:
        return None
    plan = next_run(crawler.schedule, after=at, last=crawler.planned_at, dice=dice)
    return crawler if crawlers.claim(tx, crawler, plan) else None


def _skip(tx: Transaction, crawler: Crawler, why: str, *, at: datetime) -> None:
    crawlers.skipped(tx, crawler, why, at=at)
    log.warning("schedule.skipped", crawler=crawler.fid, due_at=crawler.next_run_at, why=why)
