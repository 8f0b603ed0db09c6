"""Snapshots of streams as Iceberg tables, of a lake in an object store: which there are, and which files they need.

The plans of streams, which are kept in the same way, are rows of the same table.

The deletion of each of their files is scheduled when it is named, and put off while somebody asks for it; a snapshot
can be used until an hour before that, for readers that have started. A file that is due is therefore named by none.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from headwater.catalog import garbage, intended_files, objects, tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.garbage import READERS_LEAVE
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import Unavailable

#: What stands for a warehouse, and what it begins with, where a plan is kept (``streams/plan.py``).
PLANS = "plan"

_kept = tables.iceberg_snapshots.c


@dataclass(frozen=True, kw_only=True)
class KeptSnapshot:
    """A stream version as a snapshot, in a warehouse."""

    stream: str
    warehouse: str
    version: int
    layout: int
    #: The snapshot as JSON; None for a version without documents, which has none.
    about: str | None
    #: The paths of all files that it needs, but for folded ones and the metadata.
    files: list[str]
    #: The path of the metadata that show it, None at first.
    metadata: str | None
    #: Until when it can be used, unless somebody asks for it meanwhile.
    until: datetime


def usable(tx: Transaction, stream: str, warehouse: str, *, layout: int, at: datetime) -> list[KeptSnapshot]:
    """Return the snapshots of a stream's layout that can be used."""
    wanted = select(tables.iceberg_snapshots).where(
        _kept.stream == stream, _kept.warehouse == warehouse, _kept.layout == layout, _kept.until > at
    )
    return [KeptSnapshot(**row) for row in tx.execute(wanted).mappings()]


def add(tx: Transaction, kept: KeptSnapshot, *, new: Collection[str], at: datetime) -> KeptSnapshot:
    """Keep a snapshot whose ``new`` files were just put; return it, or the same that another process was faster with.

    Raises:
        Unavailable: storing took so long that some of the files are given up.
    """
    _lock(tx, kept.stream)
    intended_files.claim(tx, new)
    garbage.leave(tx, new, until=kept.until + READERS_LEAVE)
    _put_off(tx, sorted(set(kept.files) - set(new)), until=kept.until)
    tx.execute(delete(tables.iceberg_snapshots).where(*_is(kept), _kept.until <= at))
    try:
        with tx.savepoint():
            tx.execute(insert(tables.iceberg_snapshots).values(_columns(kept)))
    except IntegrityError:
        found = tx.execute(select(tables.iceberg_snapshots).where(*_is(kept))).mappings().one()
        return KeptSnapshot(**found)
    return kept


def renew(tx: Transaction, kept: KeptSnapshot, *, until: datetime) -> None:
    """Keep a snapshot that somebody asks for until a later time.

    Raises:
        Unavailable: it was deleted meanwhile.
    """
    _lock(tx, kept.stream)
    if not tx.execute(update(tables.iceberg_snapshots).where(*_is(kept)).values(until=until)).rowcount:
        raise Unavailable("the table was deleted meanwhile; load it again")
    _put_off(tx, [*kept.files, *([] if kept.metadata is None else [kept.metadata])], until=until)


def describe(tx: Transaction, kept: KeptSnapshot, path: str) -> None:
    """Set the metadata of a snapshot, a file that was just put. Former ones stay for readers that know of them."""
    intended_files.claim(tx, [path])
    garbage.leave(tx, [path], until=kept.until + READERS_LEAVE)
    tx.execute(update(tables.iceberg_snapshots).where(*_is(kept)).values(metadata=path))


def surplus(tx: Transaction, *, at: datetime, most: int, asked_within: timedelta) -> list[tuple[str, str, int, int]]:
    """Return the keys of snapshots to delete.

    They are those that have expired, and those that were not asked for within a time, if they are of an older layout,
    of a deleted stream, or not among the ``most`` of a stream that were asked for last.
    """
    age = select(
        _kept.stream,
        _kept.warehouse,
        _kept.version,
        _kept.layout,
        _kept.until,
        tables.streams.c.layout.label("present"),
        func.row_number()
        # The plans of a stream count together, whatever they leave out.
        .over(
            partition_by=(_kept.stream, case((_kept.warehouse.like(f"{PLANS}%"), PLANS), else_=_kept.warehouse)),
            order_by=_kept.until.desc(),
        )
        .label("place"),
    ).outerjoin(tables.streams, tables.streams.c.fid == _kept.stream)
    return [
        (row.stream, row.warehouse, row.version, row.layout)
        for row in tx.execute(age)
        if row.until <= at or ((row.layout != row.present or row.place > most) and row.until <= at + asked_within)
    ]


def forget(tx: Transaction, keys: Sequence[tuple[str, str, int, int]], *, at: datetime, asked_within: timedelta) -> int:
    """Delete snapshots unless somebody has asked for them again; return how many.

    Their files that no other snapshot needs are due at once.
    """
    forgotten = 0
    by_table: defaultdict[tuple[str, str], set[tuple[int, int]]] = defaultdict(set)
    for stream, warehouse, version, layout in keys:
        by_table[stream, warehouse].add((version, layout))
    for (stream, warehouse), gone in by_table.items():
        _lock(tx, stream)
        wanted = select(tables.iceberg_snapshots).where(_kept.stream == stream, _kept.warehouse == warehouse)
        needed: set[str] = set()
        unneeded: set[str] = set()
        for row in tx.execute(wanted).mappings():
            kept = KeptSnapshot(**row)
            if (kept.version, kept.layout) in gone and kept.until <= at + asked_within:
                forgotten += 1
                unneeded.update([*kept.files, *([] if kept.metadata is None else [kept.metadata])])
                tx.execute(delete(tables.iceberg_snapshots).where(*_is(kept)))
            else:
                needed.update(kept.files)
        garbage.put_off(tx, sorted(unneeded - needed), until=at)
    return forgotten


def forget_all(tx: Transaction) -> None:
    """Forget all snapshots: their files are not where the lake is now."""
    tx.execute(delete(tables.iceberg_snapshots))


def _lock(tx: Transaction, stream: str) -> None:
    """Let no other transaction change which files the snapshots of a stream need."""
    objects.find(tx, STREAMS, stream, lock=True)


def _put_off(tx: Transaction, files: Sequence[str], *, until: datetime) -> None:
    if len(garbage.still_named(tx, files)) != len(files):
        raise Unavailable("files of the table were deleted meanwhile; load it again")
    garbage.put_off(tx, files, until=until + READERS_LEAVE)


def _is(kept: KeptSnapshot) -> tuple[Any, ...]:
    return (
        _kept.stream == kept.stream,
        _kept.warehouse == kept.warehouse,
        _kept.version == kept.version,
        _kept.layout == kept.layout,
    )


def _columns(kept: KeptSnapshot) -> dict[str, Any]:
    return {column.name: getattr(kept, column.name) for column in tables.iceberg_snapshots.columns}
