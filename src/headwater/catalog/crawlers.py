"""Queries and changes of crawlers."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.exc import IntegrityError

from headwater.catalog import events, objects, tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS
from headwater.domain.crawler import Crawler
from headwater.domain.errors import NotFound, StreamTaken
from headwater.domain.event import miss, recovery, skip
from headwater.domain.schedule import Plan, kept_moments
from headwater.domain.task import Failing

_crawlers = tables.crawlers.c


def of_stream(tx: Transaction, stream: str) -> Crawler | None:
    """Return the crawler that feeds a stream, or None."""
    return tx.value(CRAWLERS.rows.where(tables.crawlers.c.stream == stream), Crawler)


def of_streams(tx: Transaction, streams: list[str]) -> dict[str, Crawler]:
    """Return the crawler of each stream that has one, by stream."""
    found = tx.values(CRAWLERS.rows.where(_crawlers.stream.in_(streams)), Crawler)
    return {crawler.stream: crawler for crawler in found}


def streams_of(crawler: str) -> Select[Any]:
    """Select the stream that a crawler feeds."""
    return select(tables.crawlers.c.stream).where(tables.crawlers.c.fid == crawler)


def fed_by(tx: Transaction, external: str) -> list[str]:
    """Return the streams that crawlers of an External feed, those of older crawlers first."""
    wanted = select(tables.crawlers.c.stream).where(tables.crawlers.c.external == external)
    return list(tx.execute(wanted.order_by(tables.crawlers.c.fid)).scalars())


def due(tx: Transaction, *, at: datetime, limit: int) -> list[str]:
    """Return crawlers whose next run is due, longest due first."""
    wanted = select(_crawlers.fid).where(_crawlers.next_run_at <= at).order_by(_crawlers.next_run_at).limit(limit)
    return list(tx.execute(wanted).scalars())


def next_due(tx: Transaction) -> datetime | None:
    """Return when the next scheduled run is due, or missed; None if there is none."""
    moments = [
        tx.execute(select(func.min(moment)).where(moment.is_not(None))).scalar_one()
        for moment in (_crawlers.next_run_at, _crawlers.expected_by)
    ]
    return min((moment for moment in moments if moment is not None), default=None)


def claim(tx: Transaction, crawler: Crawler, plan: Plan | None) -> bool:
    """Set a crawler's next run by compare-and-set; return whether this process may start the due one.

    This is not an edit: the crawler's version stays the same.
    """
    matches = (_crawlers.fid == crawler.fid) & (_crawlers.next_run_at == crawler.next_run_at)
    claimed = update(tables.crawlers).where(matches).values(**kept_moments(plan))
    return tx.execute(claimed).rowcount == 1


def skipped(tx: Transaction, crawler: Crawler, why: str, *, at: datetime) -> None:
    """Record that a crawler's run was skipped, and why. This is not an edit: the crawler's version stays the same."""
    tx.execute(update(tables.crawlers).where(_crawlers.fid == crawler.fid).values(skipped_at=at, skipped_because=why))
    events.append(tx, skip(crawler, why, at=at))


def overdue(tx: Transaction, *, at: datetime, limit: int) -> list[str]:
    """Return crawlers of which a run should have ended well by now, longest overdue first."""
    wanted = select(_crawlers.fid).where(_crawlers.expected_by <= at).order_by(_crawlers.expected_by).limit(limit)
    return list(tx.execute(wanted).scalars())


def missed(
    tx: Transaction, crawler: Crawler, expected_at: datetime, *, following: datetime | None, at: datetime
) -> bool:
    """Record a missed run by compare-and-set, and the next deadline; return whether this process recorded it.

    This is not an edit: the crawler's version stays the same.
    """
    since = crawler.missed_since or expected_at
    matches = (_crawlers.fid == crawler.fid) & (_crawlers.expected_by == crawler.expected_by)
    values = {"expected_by": following, "missed_since": since}
    if tx.execute(update(tables.crawlers).where(matches).values(values)).rowcount != 1:
        return False
    events.append(tx, miss(crawler, expected_at=expected_at, missed_since=since, at=at))
    return True


def met(tx: Transaction, crawler: Crawler, *, following: datetime | None) -> datetime | None:
    """Set the deadline after a good run, unless the crawler was edited since; return since when runs were missed.

    This is not an edit: the crawler's version stays the same.
    """
    matches = (_crawlers.fid == crawler.fid) & (_crawlers.version == crawler.version)
    tx.execute(update(tables.crawlers).where(matches).values(expected_by=following))
    was_missed = matches & _crawlers.missed_since.is_not(None)
    # Locked by the update before, so that no other process records a miss in between.
    since = tx.execute(select(_crawlers.missed_since).where(was_missed)).scalar_one_or_none()
    if since is not None:
        tx.execute(update(tables.crawlers).where(was_missed).values(missed_since=None))
    return since


def recovered(
    tx: Transaction,
    crawler: Crawler,
    task: str,
    *,
    missed_since: datetime | None,
    failing: Failing | None,
    at: datetime,
) -> None:
    """Record that a run of a crawler has ended well, the first one after missed or bad ones."""
    events.append(tx, recovery(crawler, task, missed_since=missed_since, failing=failing, at=at))


def add(tx: Transaction, crawler: Crawler) -> Crawler:
    """Store a new crawler.

    Raises:
        StreamTaken: another crawler feeds its stream.
        NotFound: its stream or External is gone.
    """
    try:
        with tx.savepoint():
            return objects.add(tx, CRAWLERS, crawler)
    except IntegrityError as error:
        present = of_stream(tx, crawler.stream)
        if present is None:
            raise NotFound("the crawler's stream or External was deleted meanwhile") from error
        raise StreamTaken(
            f"stream {crawler.stream} is fed by crawler {present.fid} already; a stream has one crawler at most"
        ) from error
