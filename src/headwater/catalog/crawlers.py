"""Questions and changes that only crawlers know."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.exc import IntegrityError

from headwater.catalog import events, objects, tables
from headwater.catalog.objects import CRAWLERS
from headwater.catalog.transaction import Transaction
from headwater.domain.crawler import Crawler
from headwater.domain.errors import NotFound, StreamTaken
from headwater.domain.event import skip
from headwater.domain.schedule import Plan, kept_moments

_crawlers = tables.crawlers.c


def of_stream(tx: Transaction, stream: str) -> Crawler | None:
    """Return the crawler that feeds a stream, or None."""
    return tx.value(CRAWLERS.rows.where(tables.crawlers.c.stream == stream), Crawler)


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


def claim(tx: Transaction, crawler: Crawler, plan: Plan | None) -> bool:
    """Set when a crawler's next run is, and return whether the one that it had is ours to start.

    It is no edit: the crawler's version stays.
    """
    of_it = (_crawlers.fid == crawler.fid) & (_crawlers.next_run_at == crawler.next_run_at)
    claimed = update(tables.crawlers).where(of_it).values(**kept_moments(plan))
    return tx.execute(claimed).rowcount == 1


def skipped(tx: Transaction, crawler: Crawler, why: str, *, at: datetime) -> None:
    """Keep that a crawler's run was skipped, and why. It is no edit: the crawler's version stays."""
    tx.execute(update(tables.crawlers).where(_crawlers.fid == crawler.fid).values(skipped_at=at, skipped_because=why))
    events.tell(tx, skip(crawler, why, at=at))


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
