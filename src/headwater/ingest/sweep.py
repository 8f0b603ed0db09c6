"""Deleting what uploads left behind that ended in the middle, or that a crash ended."""

import asyncio
from datetime import datetime, timedelta
from itertools import islice

import structlog

from headwater.catalog import garbage, segments
from headwater.catalog.database import Database
from headwater.catalog.transaction import Transaction
from headwater.lake.store import LocalStore

log = structlog.get_logger(__name__)

#: A file that no row names counts as garbage at this age: its upload's transaction is long over by then.
GRACE = timedelta(hours=1)
#: Paths that are asked about at a time.
_MANY = 500


async def sweep(db: Database, store: LocalStore, *, at: datetime, grace: timedelta = GRACE) -> list[str]:
    """Delete files that no segment names and nobody has touched for ``grace``; return their paths."""
    before = at - grace
    stray = await asyncio.to_thread(lambda: list(store.garbage(before=before)))
    kept = iter(await asyncio.to_thread(lambda: list(store.kept(before=before))))
    while paths := list(islice(kept, _MANY)):
        named = await db.read(_named, paths)
        stray += [path for path in paths if path not in named]
    for path in stray:
        store.delete(path)
    if stray:
        log.info("lake.swept", files=len(stray))
    return stray


def _named(tx: Transaction, paths: list[str]) -> set[str]:
    return segments.still_named(tx, paths) | garbage.still_named(tx, paths)
