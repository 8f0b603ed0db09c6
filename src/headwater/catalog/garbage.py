"""Files that nothing names any more, left lying for a while for those who are still reading them."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update

from headwater.catalog import tables
from headwater.catalog.transaction import Transaction

#: So long a file is left for those who began to read it before nothing named it any more.
READERS_LEAVE = timedelta(hours=1)

_garbage = tables.garbage.c


def leave(tx: Transaction, paths: Collection[str], *, until: datetime) -> None:
    """Have files deleted, not before a moment."""
    if paths:
        tx.execute(insert(tables.garbage), [{"path": path, "due_at": until} for path in paths])


def due(tx: Transaction, *, at: datetime, limit: int) -> list[str]:
    """Return files that are to be deleted now, longest due first."""
    wanted = select(_garbage.path).where(_garbage.due_at <= at).order_by(_garbage.due_at).limit(limit)
    return list(tx.execute(wanted).scalars())


def put_off(tx: Transaction, paths: Collection[str], *, until: datetime) -> None:
    """Have files that could not be deleted tried again, not before a moment."""
    tx.execute(update(tables.garbage).where(_garbage.path.in_(paths)).values(due_at=until))


def deleted(tx: Transaction, paths: Collection[str]) -> None:
    """Forget files that are deleted."""
    tx.execute(delete(tables.garbage).where(_garbage.path.in_(paths)))


def still_named(tx: Transaction, paths: Collection[str]) -> set[str]:
    """Return those of the paths that wait to be deleted."""
    return set(tx.execute(select(_garbage.path).where(_garbage.path.in_(paths))).scalars())
