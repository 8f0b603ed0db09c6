"""Events: rows written in the transaction of the change that they describe.

Their ids are in commit order: at once where there is one writer, else as soon as ``event_order`` has assigned them.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, or_, select

from headwater.catalog import tables
from headwater.catalog.core.prepared_statement import PreparedStatement
from headwater.catalog.core.transaction import Transaction
from headwater.domain.event import Event, EventFilter

_events = tables.events.c

#: Published when there are new events.
APPENDED = "events"

# The database assigns the id.
_ADD, _ADD_UNORDERED = (
    PreparedStatement(
        insert(table)
        .values({column.name: bindparam(column.name) for column in _events if column.name != "id"})
        .inline()
    )
    for table in (tables.events, tables.unordered_events)
)


def append(tx: Transaction, event: Event) -> None:
    """Append an event about what this transaction changes; it is visible after the commit."""
    tx.before_commit(_store, event)
    tx.publish(APPENDED)


def after(tx: Transaction, place: int, *, limit: int) -> list[Event]:
    """Return events after an id, in order; no event that is committed later gets a lower id."""
    wanted = select(tables.events).where(_events.id > place).order_by(_events.id).limit(limit)
    return tx.values(wanted, Event)


def last(tx: Transaction) -> int:
    """Return the id of the newest event, 0 before the first."""
    return tx.execute(select(func.coalesce(func.max(_events.id), 0))).scalar_one()


def oldest(tx: Transaction) -> int:
    """Return the id of the oldest retained event, 0 before the first."""
    return tx.execute(select(func.coalesce(func.min(_events.id), 0))).scalar_one()


def within(tx: Transaction, place: int, until: int, wanted: EventFilter, *, limit: int) -> list[Event]:
    """Return events after an id, up to another; the filter is approximate, others may be among them."""
    those = select(tables.events).where(_events.id > place, _events.id <= until, *_roughly(wanted))
    return tx.values(those.order_by(_events.id).limit(limit), Event)


def place_at(tx: Transaction, moment: datetime) -> int:
    """Return the position before the first event at or after a time.

    A binary search: there is no index on times, which grow with the ids except for differences between clocks.
    """
    low, high = max(oldest(tx) - 1, 0), last(tx)
    while low < high:
        middle = (low + high) // 2
        following = select(_events.id, _events.at).where(_events.id > middle).order_by(_events.id).limit(1)
        event = tx.execute(following).one()
        if event.at < moment:
            low = event.id
        else:
            high = middle
    return low


def forget(tx: Transaction, *, until: int, limit: int) -> int:
    """Delete events up to an id, oldest first, about ``limit`` of them; return how many were deleted.

    The newest event stays, so that a gap for a subscriber can always be detected.
    """
    last_of_them = min(until, oldest(tx) + limit - 1, last(tx) - 1)
    return tx.execute(delete(tables.events).where(_events.id <= last_of_them)).rowcount


def _roughly(wanted: EventFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.stream is not None:
        yield _events.stream == wanted.stream
    if wanted.crawler is not None:
        yield _events.crawler == wanted.crawler
    if wanted.task is not None:
        # Events about several tasks list them in their data.
        yield or_(_events.task == wanted.task, _events.task.is_(None))
    if wanted.types:
        yield or_(*(_events.type.like(f"{type_}%") for type_ in sorted(wanted.types)))


def _store(tx: Transaction, new: Sequence[Event]) -> None:
    # A reader that has read up to an id must have missed none before it. Writers that commit in any order would have to
    # wait for each other to assign such ids, so that this is done later, for the events of many commits at a time.
    tx.run_each(_ADD if tx.commits_in_order else _ADD_UNORDERED, [vars(event) for event in new])
