"""Streams as tables of an Iceberg catalog: each version that somebody asks for becomes a snapshot then.

The files of a snapshot lie in a folder of their own in the lake, ``iceberg/{stream}/{warehouse}/{version}-{layout}``:
version and layout of a stream determine what its files hold. A change of the layout (folding, erasure, purge) makes all
snapshots of the stream obsolete; they are made again when somebody asks. Everything in ``iceberg`` can be made again at
any time, so that backups leave it out, and no row of the catalog names it. In an object store, the catalog has to know
what is there (``shared_iceberg``).
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from headwater.catalog import segment_tables, streams
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.iceberg_snapshots import PLANS
from headwater.domain.errors import NoRoom
from headwater.domain.segment_table import SegmentFile, VisibleSegments, file_name
from headwater.domain.stream import Stream
from headwater.lake.engine import Engine
from headwater.lake.iceberg.files import Target, write_snapshot
from headwater.lake.iceberg.schema import Snapshot, metadata
from headwater.lake.store import Store
from headwater.streams.views import View, visibility

#: The folder of snapshots in the lake.
FOLDER = "iceberg"
#: Snapshots that nobody has asked for since are deleted after this, ...
KEPT = timedelta(days=1)
#: ... and the least recently asked for if there are more of a stream, ...
MOST_KEPT = 50
#: ... and those of an older layout after this, for readers that have started: their data files are deleted then, too.
READERS_LEAVE = timedelta(hours=1)

_COPIES = "copies"
_METADATA = "metadata"
#: Describes the snapshot or the plan of a folder; it is as old as the last request for it.
ABOUT = "snapshot.json"
#: Suffix of a snapshot that is being made.
_STAGED = ".new"
_NAME = re.compile(r"(\d+)-(\d+)")
_PRIVATE = 0o700


@dataclass(frozen=True, kw_only=True)
class Warehouse:
    """How engines are told where files are."""

    #: Its name, which engines choose it by.
    name: str
    #: Returns the location of the table of a stream: some engines use its credentials only below it.
    location: Callable[[str], str]
    #: Returns the location of a path of the lake.
    locate: Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A stream as a table, as of the version that was asked for."""

    stream: str
    version: int
    metadata: dict[str, Any]
    #: Where the same metadata are stored.
    metadata_location: str


class IcebergTables:
    """Makes and keeps the snapshots of streams."""

    def __init__(self, db: Database, engine: Engine, store: Store) -> None:
        """Keep them in the store."""
        self._db = db
        self._engine = engine
        self._root = store.root
        self._making: dict[str, asyncio.Lock] = {}

    async def table(self, stream: str, version: int | None, warehouse: Warehouse) -> Table:
        """Return a stream as a table, at a version or, with None, at the present one.

        The metadata list the other versions that have been asked for, too.

        Raises:
            NotFound, RequestInvalid, VersionForgotten: there is no such stream or version.
            SegmentDamaged: a segment is damaged.
            NoRoom: the disk is full.
        """
        look = await self._db.read(look_at, stream, View(as_of=version))
        folder = f"{FOLDER}/{stream}/{warehouse.name}"
        current = None
        try:
            if look.version:
                # One at a time in a process; between processes, the first one to finish is kept.
                async with self._one_at_a_time(stream):
                    current = await self._snapshot(look, folder, warehouse)
            return await asyncio.to_thread(self._described, look, folder, warehouse, current)
        except OSError as error:
            raise NoRoom(f"the table cannot be written: {error.strerror or error}") from error

    async def sweep(self, at: datetime) -> int:
        """Delete snapshots that are obsolete or that nobody asks for any more; return how many."""
        folders = await asyncio.to_thread(lambda: list(self._folders()))
        layouts = await self._db.read(streams.layouts, sorted({folder.parent.parent.name for folder in folders}))
        return await asyncio.to_thread(self._sweep, folders, layouts, at)

    def _one_at_a_time(self, stream: str) -> asyncio.Lock:
        return self._making.setdefault(stream, asyncio.Lock())

    async def _snapshot(self, look: "Look", folder: str, warehouse: Warehouse) -> Snapshot:
        path = f"{folder}/{look.name}"
        found = await asyncio.to_thread(self._found, path)
        if found is not None:
            return found
        return await self._engine.ask(self._make, look, folder, path, warehouse)

    def _found(self, path: str, *, is_asked: bool = True) -> Snapshot | None:
        """Return a snapshot that was made; ``is_asked`` keeps it for longer."""
        about = self._root / path / ABOUT
        try:
            found = Snapshot.decoded(about.read_bytes())
            if is_asked:
                for file in (about, *(self._root / copy for copy in found.copies)):
                    os.utime(file)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found

    def _make(self, look: "Look", folder: str, path: str, warehouse: Warehouse) -> Snapshot:
        with staged_folder(self._root / path) as staged:
            copies = _LocalCopies(self._root, f"{folder}/{_COPIES}")
            target = Target(staged=staged, path=path, copies=copies, locate=warehouse.locate)
            made = write_snapshot(self._engine, look.seen, target, version=look.version, at_ms=look.at_ms)
            (staged / ABOUT).write_bytes(made.encoded())
        return made

    def _described(self, look: "Look", folder: str, warehouse: Warehouse, current: Snapshot | None) -> Table:
        """Return a table whose metadata list all snapshots of the present layout, and store the metadata."""
        others = [
            found
            for version, layout, path in self._made(folder)
            if layout == look.stream.layout and version != look.version
            if (found := self._found(path, is_asked=False)) is not None
        ]
        described = look.described(others, current, warehouse)
        text, name = encoded_metadata(look.version, described)
        stored = self._root / folder / _METADATA / f"{name}.metadata.json"
        stored.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        new = stored.with_suffix(f".{secrets.token_hex(8)}")
        new.write_bytes(text)
        new.chmod(0o600)
        new.rename(stored)
        return Table(
            stream=look.stream.fid,
            version=look.version,
            metadata=described,
            metadata_location=warehouse.locate(f"{folder}/{_METADATA}/{stored.name}"),
        )

    def _made(self, folder: str) -> Iterator[tuple[int, int, str]]:
        """Yield version, layout and path of each snapshot in a folder."""
        with contextlib.suppress(FileNotFoundError):
            for one in (self._root / folder).iterdir():
                if found := _NAME.fullmatch(one.name):
                    yield int(found[1]), int(found[2]), f"{folder}/{one.name}"

    def _folders(self) -> Iterator[Path]:
        yield from (self._root / FOLDER).glob("*/*/*")

    def _sweep(self, folders: list[Path], layouts: dict[str, int], at: datetime) -> int:
        deleted = 0
        groups: defaultdict[tuple[Path, str], list[tuple[datetime, bool, Path]]] = defaultdict(list)
        for folder in folders:
            if found := _NAME.fullmatch(folder.name):
                # The plans of a stream count together, whatever they leave out.
                stream, warehouse = folder.parent.parent, folder.parent.name.partition("-")[0]
                is_present = int(found[2]) == layouts.get(stream.name)
                groups[stream, warehouse].append((_touched(folder / ABOUT), is_present, folder))
        for made in groups.values():
            for place, (touched, is_present, folder) in enumerate(sorted(made, reverse=True)):
                if touched <= at - (KEPT if is_present and place < MOST_KEPT else READERS_LEAVE):
                    shutil.rmtree(folder, ignore_errors=True)
                    deleted += 1
        for shared in {folder.parent for folder in folders}:
            for folder in shared.glob(f"*{_STAGED}"):  # of a process that was killed
                if _touched(folder) <= at - KEPT:
                    shutil.rmtree(folder, ignore_errors=True)
            self._sweep_shared(shared, at)
        return deleted

    def _sweep_shared(self, folder: Path, at: datetime) -> None:
        """Delete the metadata of a folder that were not asked for lately, and copies that no snapshot uses."""
        if folder.name.partition("-")[0] == PLANS:
            return  # they have neither
        found = [Snapshot.decoded(about.read_bytes()) for about in folder.glob(f"*/{ABOUT}")]
        used = {self._root / copy for one in found for copy in one.copies}
        for file in (*folder.glob(f"{_COPIES}/*"), *folder.glob(f"{_METADATA}/*")):
            # One that is being made may be about to use it.
            if file not in used and _touched(file) <= at - READERS_LEAVE:
                file.unlink(missing_ok=True)


class _LocalCopies:
    """The copies in a folder of the lake."""

    def __init__(self, root: Path, folder: str) -> None:
        self._root = root
        self._folder = folder

    def find(self, file: SegmentFile) -> str | None:
        path = self._path(file)
        try:
            os.utime(self._root / path)
        except FileNotFoundError:
            return None
        return path

    def add(self, staged: Path, file: SegmentFile) -> str:
        path = self._path(file)
        copy = self._root / path
        copy.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        staged.rename(copy)
        return path

    def _path(self, file: SegmentFile) -> str:
        return f"{self._folder}/{file_name(file.path)}.parquet"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a stream shows at a version."""

    stream: Stream
    version: int
    #: When the version began, in milliseconds since 1970.
    at_ms: int
    seen: VisibleSegments

    @property
    def name(self) -> str:
        """A name of what the stream's files are at this version."""
        return f"{self.version}-{self.stream.layout}"

    def described(self, others: Sequence[Snapshot], current: Snapshot | None, warehouse: Warehouse) -> dict[str, Any]:
        """Return the metadata of the table that shows this version, its snapshot, and lists others."""
        return metadata(
            self.stream.fid,
            others if current is None else [*others, current],
            current=current,
            location=warehouse.location(self.stream.fid),
            at_ms=self.at_ms,
        )


@contextlib.contextmanager
def staged_folder(folder: Path) -> Generator[Path]:
    """Make a folder: it is filled under another name, which is given, and is there at once, or not at all."""
    staged = folder.with_name(f"{secrets.token_hex(8)}{_STAGED}")
    staged.mkdir(mode=_PRIVATE, parents=True)
    try:
        yield staged
        with contextlib.suppress(OSError):  # another process was faster
            staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def look_at(tx: Transaction, fid: str, view: View) -> Look:
    """Return what a view of a stream shows.

    Raises:
        NotFound, RequestInvalid, VersionForgotten, RunSettled: there is no such stream, version or task.
    """
    stream, shown = visibility(tx, fid, view)
    began = streams.began_at(tx, fid, shown.version) or stream.created_at
    return Look(
        stream=stream,
        version=shown.version,
        at_ms=int(began.timestamp() * 1000),
        seen=segment_tables.visible(tx, fid, shown),
    )


def encoded_metadata(version: int, described: dict[str, Any]) -> tuple[bytes, str]:
    """Return metadata as JSON, and a name for them that no other content has."""
    text = json.dumps(described).encode()
    return text, f"{version:05}-{sha256(text).hexdigest()[:32]}"


def _touched(file: Path) -> datetime:
    """Return when a file was last written or asked for; long ago if it is gone."""
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except FileNotFoundError:
        return datetime.fromtimestamp(0, UTC)
