"""The order of events that concurrent writers committed.

A writer that assigned an id in commit order would hold a lock from there to the end of its commit, and all writers
would wait for each other. So transactions add their events to a table without an order, and who wants to read events
moves those that are committed to the table of events, where they get the next ids. A transaction that takes long delays
its own events only. Per stream and per task, the order is that of the changes: a transaction adds its events last,
while it holds the rows that it changed.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select

from headwater.catalog import events, tables
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction

_unordered = tables.unordered_events.c
_FIELDS = [column.name for column in tables.events.columns if column.name != "id"]

#: Events that one transaction puts in order.
MANY = 10_000


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """The events that are not in order yet."""

    number: int
    #: When the oldest of them was recorded; None if there is none.
    oldest_at: datetime | None


async def catch_up(db: Database) -> None:
    """Put the events that are committed by now in order, so that they can be read."""
    if db.commits_in_order:
        return
    while await db.read(_is_behind):
        # Alone: other changes in its transaction would wait for rows while it holds the lock.
        await db.write_alone(put_in_order)


def newest(tx: Transaction) -> int:
    """Return the id of the newest event, after putting those in order that are committed by now."""
    while put_in_order(tx) == MANY:
        pass
    return events.last(tx)


def put_in_order(tx: Transaction) -> int:
    """Give the next ids to committed events that have none; return their number, ``MANY`` at most."""
    if tx.commits_in_order:
        return 0
    # A statement of its own: the next one must see what the last holder has committed.
    tx.advisory_lock(events.APPENDED)
    first = select(_unordered.id).order_by(_unordered.id).limit(MANY)
    moved = delete(tables.unordered_events).where(_unordered.id.in_(first)).returning(*_unordered).cte("moved")
    ordered = select(*(moved.c[name] for name in _FIELDS)).order_by(moved.c.id)
    added = insert(tables.events).from_select(_FIELDS, ordered).execution_options(preserve_rowcount=True)
    number = tx.execute(added).rowcount
    if number:
        tx.publish(events.APPENDED)
    return number


def waiting(tx: Transaction) -> Waiting:
    """Return how many events are not in order yet, and since when."""
    row = tx.execute(select(func.count().label("number"), func.min(_unordered.at).label("oldest_at"))).one()
    return Waiting(number=row.number, oldest_at=row.oldest_at)


def _is_behind(tx: Transaction) -> bool:
    return tx.execute(select(_unordered.id).limit(1)).first() is not None
