"""Files that no row names any more, kept for a while for readers that have started."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction

#: How long a file is kept for readers that started while it was still named.
READERS_LEAVE = timedelta(hours=1)

_garbage = tables.garbage.c


def leave(tx: Transaction, paths: Collection[str], *, until: datetime) -> None:
    """Schedule the deletion of files, not before ``until``."""
    if paths:
        tx.execute(insert(tables.garbage), [{"path": path, "due_at": until} for path in paths])


def due(tx: Transaction, *, at: datetime, limit: int) -> list[str]:
    """Return files that are due for deletion, longest due first."""
    wanted = select(_garbage.path).where(_garbage.due_at <= at).order_by(_garbage.due_at).limit(limit)
    return list(tx.execute(wanted).scalars())


def put_off(tx: Transaction, paths: Collection[str], *, until: datetime) -> None:
    """Schedule another attempt to delete files that could not be deleted, not before ``until``."""
    tx.execute(update(tables.garbage).where(_garbage.path.in_(paths)).values(due_at=until))


def deleted(tx: Transaction, paths: Collection[str]) -> None:
    """Remove deleted files from the list."""
    tx.execute(delete(tables.garbage).where(_garbage.path.in_(paths)))


def below(tx: Transaction, prefix: str) -> list[str]:
    """Return the paths that begin with a prefix."""
    return list(tx.execute(select(_garbage.path).where(_garbage.path.startswith(prefix, autoescape=True))).scalars())


def still_named(tx: Transaction, paths: Collection[str]) -> set[str]:
    """Return those of the paths that are scheduled for deletion."""
    return set(tx.execute(select(_garbage.path).where(_garbage.path.in_(paths))).scalars())
