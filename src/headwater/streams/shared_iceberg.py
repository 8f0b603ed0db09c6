"""Iceberg tables where the lake is an object store: made by one node, read through any, or by engines themselves.

The files lie below the stream's own, so that one prefix holds all that a table needs, ``streams/{stream}``. Each has a
name of its own; the catalog knows which snapshots there are (``catalog/iceberg_snapshots.py``).
"""

import asyncio
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any

from headwater.catalog import iceberg_snapshots
from headwater.catalog.core.database import Database
from headwater.catalog.iceberg_snapshots import KeptSnapshot
from headwater.domain.errors import Unavailable
from headwater.domain.segment_table import SegmentFile, file_name
from headwater.lake.engine import Engine
from headwater.lake.iceberg.files import Target, write_snapshot
from headwater.lake.iceberg.schema import Snapshot
from headwater.lake.store import STREAMS, Store
from headwater.streams.iceberg import (
    KEPT,
    MOST_KEPT,
    READERS_LEAVE,
    IcebergTables,
    Look,
    Table,
    Warehouse,
    encoded_metadata,
    look_at,
)
from headwater.streams.views import View

#: That somebody has asked for a snapshot is recorded again after this.
ASKED_FOR = timedelta(hours=1)
#: Files that are put at once.
AT_ONCE = 8


class SharedIcebergTables(IcebergTables):
    """The snapshots of all nodes on one object store."""

    def __init__(self, db: Database, engine: Engine, store: Store, *, clock: Callable[[], datetime]) -> None:
        """Keep them in the store."""
        super().__init__(db, engine, store)
        self._store = store
        self._clock = clock

    async def table(self, stream: str, version: int | None, warehouse: Warehouse) -> Table:
        """Return a stream as a table, at a version or, with None, at the present one.

        The metadata list the other versions that have been asked for, too.

        Raises:
            NotFound, RequestInvalid, VersionForgotten: there is no such stream or version.
            SegmentDamaged: a segment is damaged.
            Unavailable: the object store does not answer, or the disk is full.
        """
        look = await self._db.read(look_at, stream, View(as_of=version))
        at = self._clock()
        async with self._one_at_a_time(stream):
            usable = await self._db.read(
                iceberg_snapshots.usable, stream, warehouse.name, layout=look.stream.layout, at=at
            )
            with store_errors():
                kept = await renewed(self._db, look, usable, at)
                kept = kept or await self._engine.ask(self._made_and_kept, look, usable, warehouse, at)
                others = [one for one in usable if one.version != look.version]
                return await self._described_as_kept(look, kept, others, warehouse)

    async def sweep(self, at: datetime) -> int:
        """Delete snapshots that are obsolete or that nobody asks for any more; return how many."""
        asked_within = KEPT - READERS_LEAVE
        found = await self._db.read(iceberg_snapshots.surplus, at=at, most=MOST_KEPT, asked_within=asked_within)
        return await self._db.write(iceberg_snapshots.forget, found, at=at, asked_within=asked_within) if found else 0

    def _made_and_kept(
        self, look: Look, usable: Sequence[KeptSnapshot], warehouse: Warehouse, at: datetime
    ) -> KeptSnapshot:
        folder = table_folder(look.stream.fid, warehouse.name)
        kept = KeptSnapshot(
            stream=look.stream.fid,
            warehouse=warehouse.name,
            version=look.version,
            layout=look.stream.layout,
            about=None,
            files=[],
            metadata=None,
            until=at + KEPT,
        )
        new: list[str] = []
        if look.version:
            copies = _SharedCopies(self._store, f"{folder}/copies", usable)
            path = f"{folder}/{look.name}-{token_hex(8)}"
            with TemporaryDirectory(dir=self._store.staging, prefix="iceberg-") as staged:
                target = Target(staged=Path(staged), path=path, copies=copies, locate=warehouse.locate)
                made = write_snapshot(self._engine, look.seen, target, version=look.version, at_ms=look.at_ms)
                new = [*copies.added, *put_all(self._store, sorted(Path(staged).iterdir()), path)]
            kept = replace(kept, about=made.encoded().decode(), files=[*new, *copies.found])
        return asyncio.run(self._db.write(iceberg_snapshots.add, kept, new=new, at=at))

    async def _described_as_kept(
        self, look: Look, kept: KeptSnapshot, others: Sequence[KeptSnapshot], warehouse: Warehouse
    ) -> Table:
        """Return a table whose metadata list all snapshots of the present layout, and store the metadata."""
        listed = [found for one in others if (found := _snapshot(one)) is not None]
        described: dict[str, Any] = look.described(listed, _snapshot(kept), warehouse)
        text, name = encoded_metadata(look.version, described)
        path = kept.metadata
        if path is None or not path.rpartition("/")[2].startswith(name):
            path = f"{table_folder(kept.stream, warehouse.name)}/metadata/{name}-{token_hex(8)}.metadata.json"
            await asyncio.to_thread(self._put_text, text, path)
            await self._db.write(iceberg_snapshots.describe, kept, path)
        return Table(
            stream=kept.stream,
            version=look.version,
            metadata=described,
            metadata_location=warehouse.locate(path),
        )

    def _put_text(self, text: bytes, path: str) -> None:
        staged = self._store.stage(path.rpartition("/")[2])
        staged.write_bytes(text)
        self._store.keep(staged, path)


class _SharedCopies:
    """The copies that the usable snapshots of a table need."""

    def __init__(self, store: Store, folder: str, usable: Sequence[KeptSnapshot]) -> None:
        self._store = store
        self._folder = folder
        self._there = {
            path.rpartition("/")[2].partition("-")[0]: path
            for one in usable
            for path in one.files
            if path.startswith(f"{folder}/")
        }
        #: Paths of copies that the new snapshot needs: those that were there, and those that were put for it.
        self.found: list[str] = []
        self.added: list[str] = []

    def find(self, file: SegmentFile) -> str | None:
        path = self._there.get(file_name(file.path))
        if path is not None:
            self.found.append(path)
        return path

    def add(self, staged: Path, file: SegmentFile) -> str:
        path = f"{self._folder}/{file_name(file.path)}-{token_hex(8)}.parquet"
        self._store.keep(staged, path)
        self.added.append(path)
        return path


async def renewed(db: Database, look: Look, usable: Sequence[KeptSnapshot], at: datetime) -> KeptSnapshot | None:
    """Return the one of a version, if it is among the usable ones, and keep it for longer.

    Raises:
        Unavailable: it was deleted meanwhile.
    """
    found = next((one for one in usable if one.version == look.version), None)
    if found is None or found.until > at + KEPT - ASKED_FOR:
        return found
    await db.write(iceberg_snapshots.renew, found, until=at + KEPT)
    return replace(found, until=at + KEPT)


def put_all(store: Store, files: Sequence[Path], folder: str) -> list[str]:
    """Put local files into a folder of the lake, several at once; return their paths there."""
    paths = [f"{folder}/{file.name}" for file in files]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="iceberg") as threads:
        list(threads.map(store.keep, files, paths))
    return paths


def table_folder(stream: str, warehouse: str) -> str:
    """Return the folder of the files that a stream has in a warehouse."""
    return f"{STREAMS}/{stream}/iceberg/{warehouse}"


def _snapshot(kept: KeptSnapshot) -> Snapshot | None:
    return None if kept.about is None else Snapshot.decoded(kept.about.encode())


@contextmanager
def store_errors() -> Generator[None]:
    """Raise errors of the object store, and of the disk, as those of a table that may be there later."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the table cannot be written: {error.strerror or error}", retry_after=30) from error
