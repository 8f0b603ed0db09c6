"""Files that are about to be stored in an object store, recorded before the first byte is sent.

An object store is never searched for files that nothing names. Instead, who stores a file records its path first, and
removes the record in the transaction that names the file. A record that is still there after a time is of a process
that was killed, or hangs: whoever removes the record decides. A transaction that finds its record gone fails, since
its file may be deleted already.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, insert, select

from headwater.catalog import garbage, segments, tables
from headwater.catalog.core.transaction import Transaction
from headwater.domain.errors import Unavailable
from headwater.domain.stream import WrittenSegment

_intended = tables.intended_files.c


def add(tx: Transaction, path: str, *, at: datetime) -> None:
    """Record that a file is about to be stored."""
    tx.execute(insert(tables.intended_files).values(path=path, at=at))


def fulfil(tx: Transaction, *written: WrittenSegment | None) -> None:
    """Remove the records of files that this transaction names.

    Raises:
        Unavailable: one of them was given up meanwhile; nothing of the transaction may stand.
    """
    paths = [one.path for one in written if one is not None and one.is_intended]
    if paths:
        claim(tx, paths)


def claim(tx: Transaction, paths: Collection[str]) -> None:
    """Remove the records of paths that this transaction names.

    Raises:
        Unavailable: one of them was given up meanwhile; nothing of the transaction may stand.
    """
    gone = tx.execute(delete(tables.intended_files).where(_intended.path.in_(paths)))
    if gone.rowcount != len(set(paths)):
        raise Unavailable("storing the file took so long that it was given up; nothing was kept: try again")


def overdue(tx: Transaction, *, before: datetime, limit: int) -> list[str]:
    """Return paths that were recorded before a time, oldest first."""
    wanted = select(_intended.path).where(_intended.at <= before).order_by(_intended.at).limit(limit)
    return list(tx.execute(wanted).scalars())


def give_up(tx: Transaction, paths: Collection[str], *, at: datetime) -> list[str]:
    """Remove records, and schedule the deletion of the files that nothing names; return the paths of those."""
    gone = set(
        tx.execute(delete(tables.intended_files).where(_intended.path.in_(paths)).returning(_intended.path)).scalars()
    )
    stray = sorted(gone - segments.still_named(tx, gone) - garbage.still_named(tx, gone))
    garbage.leave(tx, stray, until=at)
    return stray
