"""Leases: rows that one process at a time works on; the claims of a dead process expire."""

from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, Table, TextClause, case, func, or_, select, update

from headwater.catalog.core.transaction import Transaction


class Leased(Protocol):
    """A row that can be claimed."""

    @property
    def fid(self) -> str:
        """Its id."""
        ...


T = TypeVar("T", bound=Leased)


def is_free(table: Table, at: datetime) -> ColumnElement[bool]:
    """Whether a row is due and not leased."""
    leased_until = table.c.leased_until
    return (table.c.due_at <= at) & or_(leased_until.is_(None), leased_until <= at)


def next_due(tx: Transaction, table: Table, *where: ColumnElement[bool] | TextClause) -> datetime | None:
    """Return when the next row is due and not leased; None if there is no row."""
    due_at, leased_until = table.c.due_at, table.c.leased_until
    free_at = case((leased_until > due_at, leased_until), else_=due_at)
    return tx.execute(select(func.min(free_at, type_=due_at.type)).where(*where)).scalar_one()


def claim(
    tx: Transaction,
    table: Table,
    kind: type[T],
    *where: ColumnElement[bool] | TextClause,
    at: datetime,
    lease: timedelta,
    limit: int,
) -> list[T]:
    """Lease and return free rows, longest due first, as they were before."""
    wanted = select(table).where(is_free(table, at), *where).order_by(table.c.due_at).limit(limit)
    found = tx.values(wanted.with_for_update(skip_locked=True), kind)
    if found:
        claimed = update(table).where(table.c.fid.in_([row.fid for row in found]))
        tx.execute(claimed.values(leased_until=at + lease, tries=table.c.tries + 1))
    return found
