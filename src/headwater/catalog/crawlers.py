"""Questions and changes that only crawlers know."""

from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError

from headwater.catalog import objects, tables
from headwater.catalog.database import Transaction
from headwater.catalog.objects import CRAWLERS
from headwater.domain.crawler import Crawler
from headwater.domain.errors import NotFound, StreamTaken


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
