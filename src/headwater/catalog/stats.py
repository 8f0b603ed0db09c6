"""Counts of everything in the catalog, for monitoring, and a write test."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Table, column, func, select, table, update

from headwater.catalog import event_order, scheduled_backups, scrub_progress, tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.event_order import Waiting
from headwater.catalog.runs import name_of
from headwater.catalog.scheduled_backups import ScheduledBackups
from headwater.catalog.scrub_progress import ScrubProgress

_version = table("alembic_version", column("version_num"))


@dataclass(frozen=True, kw_only=True)
class CatalogStats:
    """What the catalog holds at one time."""

    #: Tasks by state; states without tasks are absent.
    tasks: dict[str, int]
    streams: int
    externals: int
    crawlers: int
    #: Documents visible in streams, by the last count.
    docs: int
    #: Segments that are visible, or unpublished.
    segments: int
    #: Damaged segments that are not repaired.
    damaged_segments: int
    #: Notices waiting for delivery, and the time of the oldest.
    notices: int
    oldest_notice: datetime | None
    #: Committed events that are not in order yet, so that nobody sees them.
    unordered_events: Waiting
    #: Backups by the schedule; None before there was one.
    backups: ScheduledBackups | None = None
    #: The background scrub; None before it has begun.
    scrub: ScrubProgress | None = None


def collect(tx: Transaction) -> CatalogStats:
    """Return the counts: a few queries, each over an index or a short table."""
    states = select(tables.tasks.c.state, func.count().label("tasks")).group_by(tables.tasks.c.state)
    shown = select(func.coalesce(func.sum(tables.streams.c.docs), 0))
    return CatalogStats(
        tasks={row.state: row.tasks for row in tx.execute(states)},
        streams=_many(tx, tables.streams),
        externals=_many(tx, tables.externals),
        crawlers=_many(tx, tables.crawlers),
        docs=int(tx.execute(shown).scalar_one()),
        segments=_many(tx, tables.segments, tables.segments.c.removed_version.is_(None)),
        damaged_segments=_many(tx, tables.segments, tables.segments.c.damaged_at.is_not(None)),
        notices=_many(tx, tables.notices),
        oldest_notice=tx.execute(select(func.min(tables.notices.c.created_at))).scalar_one(),
        unordered_events=event_order.waiting(tx),
        backups=scheduled_backups.find(tx),
        scrub=scrub_progress.find(tx),
    )


def oldest_crawlers(tx: Transaction, *, limit: int) -> dict[str, tuple[str, str]]:
    """Return the names of the oldest crawlers and of their streams, by fid."""
    crawlers, streams = tables.crawlers, tables.streams
    query = (
        select(crawlers.c.fid, crawlers.c.meta, streams.c.fid.label("stream"), streams.c.meta.label("stream_meta"))
        .join(streams, streams.c.fid == crawlers.c.stream)
        .order_by(crawlers.c.fid)
        .limit(limit)
    )
    return {row.fid: (name_of(row.fid, row.meta), name_of(row.stream, row.stream_meta)) for row in tx.execute(query)}


def _many(tx: Transaction, table: Table, *which: ColumnElement[bool]) -> int:
    return tx.execute(select(func.count()).select_from(table).where(*which)).scalar_one()


def touch(tx: Transaction) -> None:
    """Write without changing anything: a commit proves that the disk takes writes."""
    tx.execute(update(_version).values(version_num=_version.c.version_num))
