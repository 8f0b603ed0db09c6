"""Events, as rows that are written with the change they tell of, in the order in which changes were committed."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, or_, select

from headwater.catalog import tables
from headwater.catalog.transaction import Prepared, Transaction
from headwater.domain.event import Event, EventFilter

_events = tables.events.c

#: Announced when there are events.
TOLD = "events"

# The database gives out the id.
_ADD = Prepared(
    insert(tables.events)
    .values({column.name: bindparam(column.name) for column in _events if column.name != "id"})
    .inline()
)


def tell(tx: Transaction, event: Event) -> None:
    """Let those who follow hear of what this transaction changes, once it is committed."""
    tx.before_commit(_store, event)
    tx.announce(TOLD)


def after(tx: Transaction, place: int, *, limit: int) -> list[Event]:
    """Return events behind a place, in order; none that is committed later comes before one of them."""
    wanted = select(tables.events).where(_events.id > place).order_by(_events.id).limit(limit)
    return tx.values(wanted, Event)


def last(tx: Transaction) -> int:
    """Return the id of the newest event, 0 before the first."""
    return tx.execute(select(func.coalesce(func.max(_events.id), 0))).scalar_one()


def oldest(tx: Transaction) -> int:
    """Return the id of the oldest event that is kept, 0 before the first."""
    return tx.execute(select(func.coalesce(func.min(_events.id), 0))).scalar_one()


def within(tx: Transaction, place: int, until: int, wanted: EventFilter, *, limit: int) -> list[Event]:
    """Return events behind a place, up to another; those that are not wanted may be among them."""
    those = select(tables.events).where(_events.id > place, _events.id <= until, *_roughly(wanted))
    return tx.values(those.order_by(_events.id).limit(limit), Event)


def place_at(tx: Transaction, moment: datetime) -> int:
    """Return the place before the first event of a moment or later.

    Found by halving: there is no index of moments, which grow with the ids but for what clocks are apart.
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
    """Delete events up to a place, oldest first, of about ``limit`` ids; return how many there were.

    The newest one stays, so that it can always be told whether somebody has missed any.
    """
    last_of_them = min(until, oldest(tx) + limit - 1, last(tx) - 1)
    return tx.execute(delete(tables.events).where(_events.id <= last_of_them)).rowcount


def _roughly(wanted: EventFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.stream is not None:
        yield _events.stream == wanted.stream
    if wanted.crawler is not None:
        yield _events.crawler == wanted.crawler
    if wanted.task is not None:
        # Several tasks stand in the data.
        yield or_(_events.task == wanted.task, _events.task.is_(None))
    if wanted.types:
        yield or_(*(_events.type.like(f"{type_}%") for type_ in sorted(wanted.types)))


def _store(tx: Transaction, told: Sequence[Event]) -> None:
    # Ids are given out in the order of commits: who has read up to one has missed none before it.
    tx.take_turn(TOLD)
    tx.run_each(_ADD, [vars(event) for event in told])
