"""Exports that are written to a file once, and downloaded by parts, as often as wanted, for a day."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from headwater.catalog import objects, streams
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import NoRoom, NotFound
from headwater.domain.ids import is_fid, new_fid
from headwater.streams.export import ExportFormat

#: How long a file is kept.
KEPT = timedelta(days=1)
#: Files that are kept of one stream; the oldest go first.
MOST = 20
_PRIVATE = 0o700


@dataclass(frozen=True, kw_only=True)
class PreparedExport:
    """A file that was prepared."""

    fid: str
    stream: str
    #: The stream's version when it was prepared, and the version that it shows.
    prepared_version: int
    stream_version: int
    form: ExportFormat
    #: The value of ``Content-Disposition``.
    disposition: str
    size: int
    created_at: datetime

    @property
    def expires_at(self) -> datetime:
        """When it is deleted."""
        return self.created_at + KEPT


@dataclass(frozen=True, kw_only=True)
class HeldFile:
    """A local file that stays where it is until it is released."""

    path: Path
    release: Callable[[], None] = lambda: None


class PreparedExports:
    """The prepared exports of a data directory, which its servers share."""

    def __init__(self, db: Database, root: Path) -> None:
        """Keep them in a folder, which is created when it is needed."""
        self._db = db
        self._root = root

    async def add(
        self,
        pieces: AsyncIterator[bytes],
        *,
        stream: str,
        prepared_version: int,
        stream_version: int,
        form: ExportFormat,
        disposition: str,
        at: datetime,
    ) -> PreparedExport:
        """Write an export to a file; if that fails, there is none.

        Raises:
            NoRoom: the disk is full.
        """
        fid = new_fid(at)
        staged = self._staged(stream, fid)
        try:
            await asyncio.to_thread(self._make_room, stream, at)
            size = await _written(pieces, staged)
            export = PreparedExport(
                fid=fid,
                stream=stream,
                prepared_version=prepared_version,
                stream_version=stream_version,
                form=form,
                disposition=disposition,
                size=size,
                created_at=at,
            )
            await asyncio.to_thread(self._keep, staged, export)
        except OSError as error:
            raise NoRoom(f"the export cannot be written: {error.strerror or error}") from error
        finally:
            with contextlib.suppress(OSError):
                staged.unlink(missing_ok=True)
        return export

    async def find(self, stream: str, fid: str, *, at: datetime) -> tuple[PreparedExport, HeldFile]:
        """Return an export and its file, which the caller releases.

        Raises:
            NotFound: there is none, it has expired, or a document of the stream was erased since.
        """
        export = await asyncio.to_thread(self._read, stream, fid)
        gone = NotFound(f"there is no prepared export {fid!r}; prepare it again")
        if export is None:
            raise gone
        if at >= export.expires_at or not await self._db.read(_is_current, export):
            await asyncio.to_thread(self._delete, export)
            raise gone
        try:
            return export, await asyncio.to_thread(self._hold, export)
        except FileNotFoundError:
            raise gone from None

    async def sweep(self, at: datetime) -> int:
        """Delete the files that have expired, and what crashes have left; return how many."""
        return await asyncio.to_thread(self._sweep, at)

    def _file(self, stream: str, fid: str) -> Path:
        return self._root / stream / f"{fid}.export"

    def _staged(self, stream: str, fid: str) -> Path:
        return self._file(stream, fid).with_suffix(".new")

    def _hold(self, export: PreparedExport) -> HeldFile:
        return HeldFile(path=self._file(export.stream, export.fid))

    def _about(self, stream: str, fid: str) -> Path:
        return self._root / stream / f"{fid}.json"

    def _make_room(self, stream: str, at: datetime) -> None:
        folder = self._root / stream
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        self._sweep(at)
        for about in sorted(folder.glob("*.json"))[: -(MOST - 1)]:
            self._delete_named(stream, about.stem)

    def _keep(self, staged: Path, export: PreparedExport) -> None:
        staged.rename(self._file(export.stream, export.fid))
        about = self._about(export.stream, export.fid)
        new = about.with_suffix(".new")
        new.write_text(encoded(export))
        new.chmod(0o600)
        new.rename(about)

    def _read(self, stream: str, fid: str) -> PreparedExport | None:
        if not is_fid(stream) or not is_fid(fid):
            return None
        try:
            return decoded(self._about(stream, fid).read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _delete(self, export: PreparedExport) -> None:
        self._delete_named(export.stream, export.fid)

    def _delete_named(self, stream: str, fid: str) -> None:
        # What describes it first: a file alone is not found, and swept.
        self._about(stream, fid).unlink(missing_ok=True)
        self._file(stream, fid).unlink(missing_ok=True)

    def _sweep(self, at: datetime) -> int:
        deleted = 0
        for file in self._root.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime <= (at - KEPT).timestamp():
                    file.unlink()
                    deleted += 1
        return deleted


def encoded(export: PreparedExport) -> str:
    """Return what describes an export, as JSON."""
    return json.dumps(asdict(export) | {"created_at": export.created_at.isoformat()})


def decoded(text: str) -> PreparedExport:
    """Return the export that a text describes."""
    read: dict[str, Any] = json.loads(text)
    read |= {"form": ExportFormat(read["form"]), "created_at": datetime.fromisoformat(read["created_at"])}
    return PreparedExport(**read)


async def _written(pieces: AsyncIterator[bytes], target: Path) -> int:
    size = 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        async for piece in pieces:
            await asyncio.to_thread(file.write, piece)
            size += len(piece)
    return size


def _is_current(tx: Transaction, export: PreparedExport) -> bool:
    """Return whether a stream is there, and nothing of it was erased since it was exported."""
    if objects.find(tx, STREAMS, export.stream) is None:
        return False
    return not streams.erasures(tx, export.stream, since=export.prepared_version, until=objects.ALL)
