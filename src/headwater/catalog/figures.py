"""How much there is of everything, for those who watch, and whether the catalog takes writes."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Table, column, func, select, table, update

from headwater.catalog import tables
from headwater.catalog.transaction import Transaction

_version = table("alembic_version", column("version_num"))


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the catalog holds, at a moment."""

    #: Tasks by state; a state that no task is in is absent.
    tasks: dict[str, int]
    streams: int
    externals: int
    crawlers: int
    #: Documents that streams show, as they were counted last.
    docs: int
    #: Segments that streams show or wait to show.
    segments: int
    #: Messages that wait to be delivered to ECs, and when the oldest was written.
    notices: int
    oldest_notice: datetime | None


def figures(tx: Transaction) -> Figures:
    """Return what the catalog holds: a few counts, each over an index or a short table."""
    states = select(tables.tasks.c.state, func.count().label("tasks")).group_by(tables.tasks.c.state)
    shown = select(func.coalesce(func.sum(tables.streams.c.docs), 0))
    return Figures(
        tasks={row.state: row.tasks for row in tx.execute(states)},
        streams=_many(tx, tables.streams),
        externals=_many(tx, tables.externals),
        crawlers=_many(tx, tables.crawlers),
        docs=int(tx.execute(shown).scalar_one()),
        segments=_many(tx, tables.segments, tables.segments.c.removed_version.is_(None)),
        notices=_many(tx, tables.notices),
        oldest_notice=tx.execute(select(func.min(tables.notices.c.created_at))).scalar_one(),
    )


def _many(tx: Transaction, table: Table, *which: ColumnElement[bool]) -> int:
    return tx.execute(select(func.count()).select_from(table).where(*which)).scalar_one()


def touch(tx: Transaction) -> None:
    """Write something that changes nothing: once it is committed, the disk has taken it."""
    tx.execute(update(_version).values(version_num=_version.c.version_num))
