"""Segments of small uploads, which the catalog keeps itself until they are merged: one fsync, and no file."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, insert, select

from headwater.catalog import tables
from headwater.catalog.segments import batched
from headwater.catalog.transaction import Prepared, Transaction

_inlined = tables.inlined.c
_ADD = Prepared(insert(tables.inlined))


def add(tx: Transaction, path: str, packed: bytes) -> None:
    """Keep a segment."""
    tx.run(_ADD, {"path": path, "packed": packed})


def packed(tx: Transaction, paths: Sequence[str]) -> dict[str, bytes]:
    """Return the segments that are kept at some of the paths."""
    found: dict[str, bytes] = {}
    for some in batched(paths):
        found |= {row.path: row.packed for row in tx.execute(select(tables.inlined).where(_inlined.path.in_(some)))}
    return found


def forget(tx: Transaction, paths: Collection[str]) -> None:
    """Delete segments."""
    tx.execute(delete(tables.inlined).where(_inlined.path.in_(paths)))
