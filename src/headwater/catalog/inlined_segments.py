"""Small segments stored as catalog rows until compaction (data inlining): one fsync, and no file."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, insert, select

from headwater.catalog import tables
from headwater.catalog.core.prepared_statement import PreparedStatement
from headwater.catalog.core.transaction import Transaction, batched
from headwater.catalog.segments import still_named

_inlined = tables.inlined.c
_ADD = PreparedStatement(insert(tables.inlined))


def add(tx: Transaction, path: str, packed: bytes) -> None:
    """Store a segment."""
    tx.add(_ADD, {"path": path, "packed": packed})


def packed(tx: Transaction, paths: Sequence[str]) -> dict[str, bytes]:
    """Return the inlined segments at the given paths; empty bytes for a segment whose rows are lost."""
    found: dict[str, bytes] = {}
    for some in batched(paths):
        found |= {row.path: row.packed for row in tx.execute(select(tables.inlined).where(_inlined.path.in_(some)))}
    missing = [path for path in paths if path not in found]
    for some in batched(missing):
        found |= dict.fromkeys(still_named(tx, some), b"")
    return found


def forget(tx: Transaction, paths: Collection[str]) -> None:
    """Delete segments."""
    tx.execute(delete(tables.inlined).where(_inlined.path.in_(paths)))
