"""Deletes orphan files, left by uploads that were aborted or that a crash interrupted."""

import asyncio
from datetime import datetime, timedelta
from itertools import islice

import structlog

from headwater.catalog import garbage, intended_files, segments
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.lake.store import Store

log = structlog.get_logger(__name__)

#: Minimum age of an orphan: the transaction of its upload is long over by then.
GRACE = timedelta(hours=1)
#: Minimum age of a file that was to be put to an object store, which may take long.
GRACE_OF_INTENDED = timedelta(hours=6)
#: Paths per query.
_MANY = 500


async def delete_orphans(db: Database, store: Store, *, at: datetime, grace: timedelta = GRACE) -> list[str]:
    """Delete files that no segment names and that are older than ``grace``; return their paths.

    Copies that this node holds of files which are deleted are removed, too.
    """
    before = at - grace
    stray = await asyncio.to_thread(lambda: list(store.garbage(before=before)))
    for path in stray:
        store.discard_staged(path)
    kept = iter(await asyncio.to_thread(lambda: list(store.kept(before=before))))
    while paths := list(islice(kept, _MANY)):
        named = await db.read(_named, paths)
        for path in paths:
            if path not in named:
                store.delete(path)
                stray.append(path)
    stray += await _give_up_intended(db, at=at)
    await _discard_copies(db, store)
    if stray:
        log.info("lake.swept", files=len(stray))
    return stray


async def _give_up_intended(db: Database, *, at: datetime) -> list[str]:
    """Leave files that were intended and never named to be deleted by the next turn of retention."""
    stray: list[str] = []
    while paths := await db.read(intended_files.overdue, before=at - GRACE_OF_INTENDED, limit=_MANY):
        stray += await db.write(intended_files.give_up, paths, at=at)
    return stray


async def _discard_copies(db: Database, store: Store) -> None:
    """Remove files from this node's cache that are deleted: what was erased is then on no node any more."""
    copies = iter(await asyncio.to_thread(store.copies))
    while paths := list(islice(copies, _MANY)):
        named = await db.read(_named, paths)
        for path in paths:
            if path not in named:
                store.discard_copy(path)


def _named(tx: Transaction, paths: list[str]) -> set[str]:
    return segments.still_named(tx, paths) | garbage.still_named(tx, paths)
