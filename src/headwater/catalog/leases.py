"""Rows that one process at a time works on: claimed with a lease, so that the claims of a dead one come back."""

from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, Table, TextClause, or_, select, update

from headwater.catalog.transaction import Transaction


class Leased(Protocol):
    """A row that can be claimed."""

    @property
    def fid(self) -> str:
        """Its id."""
        ...


T = TypeVar("T", bound=Leased)


def is_free(table: Table, at: datetime) -> ColumnElement[bool]:
    """Whether a row is due, and nobody works on it."""
    leased_until = table.c.leased_until
    return (table.c.due_at <= at) & or_(leased_until.is_(None), leased_until <= at)


def claim(
    tx: Transaction,
    table: Table,
    kind: type[T],
    *where: ColumnElement[bool] | TextClause,
    at: datetime,
    lease: timedelta,
    limit: int,
) -> list[T]:
    """Return free rows, longest due first, as they were before they were leased to us."""
    wanted = select(table).where(is_free(table, at), *where).order_by(table.c.due_at).limit(limit)
    found = tx.values(wanted.with_for_update(skip_locked=True), kind)
    if found:
        claimed = update(table).where(table.c.fid.in_([row.fid for row in found]))
        tx.execute(claimed.values(leased_until=at + lease, tries=table.c.tries + 1))
    return found
