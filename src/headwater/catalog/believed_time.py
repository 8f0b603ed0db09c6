"""The clock time used for purging, stored so that a clock that jumps while no server runs is detected, too."""

from datetime import datetime

from sqlalchemy import insert, select, update

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction

_at = tables.believed_time.c.at


def believed_time(tx: Transaction) -> datetime | None:
    """Return the last time that was believed; None in a catalog that has not been served yet."""
    return tx.execute(select(_at)).scalar_one_or_none()


def believe(tx: Transaction, at: datetime) -> None:
    """Store the time that is believed now."""
    if tx.execute(update(tables.believed_time).values(at=at)).rowcount == 0:
        tx.execute(insert(tables.believed_time).values(id=1, at=at))
