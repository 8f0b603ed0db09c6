"""Expected runs of crawlers: missed ones are told once, and so is the next good run after missed or bad ones."""

from datetime import datetime, timedelta

import structlog

from headwater.catalog import crawlers, objects, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS
from headwater.domain.crawler import Crawler
from headwater.domain.task import Task

log = structlog.get_logger(__name__)


def miss_due(tx: Transaction, fid: str, *, at: datetime) -> Crawler | None:
    """Record that a crawler has missed its deadline; None if it has not, or another process has recorded it."""
    crawler = objects.find(tx, CRAWLERS, fid, lock=True)
    if crawler is None or crawler.expect is None or crawler.expected_by is None or crawler.expected_by > at:
        return None
    following = crawler.expect.deadline_after_miss(crawler.expected_by, at=at)
    expected_at = crawler.expected_by - timedelta(seconds=crawler.expect.grace)
    if not crawlers.missed(tx, crawler, expected_at, following=following, at=at):
        return None
    log.warning("crawler.missed", crawler=fid, expected_at=expected_at, missed_since=crawler.missed_since)
    return crawler


def meet(tx: Transaction, crawler: Crawler, task: Task, *, at: datetime) -> None:
    """Record that a run of a crawler has ended well; the first one after missed or bad ones is told."""
    missed_since = None
    if crawler.expect is not None:
        missed_since = crawlers.met(tx, crawler, following=crawler.expect.deadline(after=at))
    failing = tasks.failing_before(tx, task)
    if missed_since is None and failing is None:
        return
    crawlers.recovered(tx, crawler, task.fid, missed_since=missed_since, failing=failing, at=at)
    failed_since = None if failing is None else failing.since
    log.info(
        "crawler.recovered",
        crawler=crawler.fid,
        task=task.fid,
        missed_since=missed_since,
        failed_since=failed_since,
    )
