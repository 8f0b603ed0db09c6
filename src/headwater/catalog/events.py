"""Events, as rows that are written with the change they tell of, in the order in which changes were committed."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, insert, select

from headwater.catalog import tables
from headwater.catalog.database import Transaction
from headwater.domain.event import Event

_events = tables.events.c

#: Announced when there are events.
TOLD = "events"


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


def _store(tx: Transaction, told: Sequence[Event]) -> None:
    # Ids are given out in the order of commits: who has read up to one has missed none before it.
    tx.take_turn(TOLD)
    tx.execute(insert(tables.events), [_row(event) for event in told])


def _row(event: Event) -> dict[str, Any]:
    row = asdict(event)
    del row["id"]
    return row
