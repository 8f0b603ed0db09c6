"""Prepared exports where the lake is an object store: written by one node, downloaded from any.

An export is two objects, the file and what describes it. Their deletion is scheduled before they are put, so that
nothing has to look for them.
"""

import asyncio
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from headwater.catalog import garbage
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.domain.errors import Unavailable
from headwater.domain.ids import is_fid
from headwater.lake.store import Store
from headwater.streams.prepared_exports import MOST, HeldFile, PreparedExport, PreparedExports, decoded, encoded


class SharedExports(PreparedExports):
    """The prepared exports of all nodes on one object store."""

    def __init__(self, db: Database, store: Store) -> None:
        """Keep them in ``store``."""
        super().__init__(db, store.staging)
        self._store = store

    def _staged(self, stream: str, fid: str) -> Path:
        del stream
        return self._store.stage(f"{fid}.export")

    def _make_room(self, stream: str, at: datetime) -> None:
        there = self._db.read_blocking(garbage.below, f"exports/{stream}/")
        files = sorted(path for path in there if path.endswith(".export"))
        surplus = files[: max(0, len(files) - (MOST - 1))]
        if surplus:
            paths = surplus + [_about(path) for path in surplus]
            asyncio.run(self._db.write(_schedule_now, paths, at=at))
            self._store.delete_all(paths)

    def _keep(self, staged: Path, export: PreparedExport) -> None:
        path = _path(export)
        asyncio.run(self._db.write(garbage.leave, [path, _about(path)], until=export.expires_at))
        about = self._store.stage(f"{export.fid}.json")
        about.write_text(encoded(export))
        try:
            self._store.keep(staged, path)
            # What describes it last: without that, it is not found.
            self._store.keep(about, _about(path))
        except OSError as error:
            raise Unavailable(f"the export cannot be stored: {error.strerror}", retry_after=30) from error

    def _read(self, stream: str, fid: str) -> PreparedExport | None:
        if not is_fid(stream) or not is_fid(fid):
            return None
        try:
            blocks = self._store.blocks(f"exports/{stream}/{fid}.json")
            return decoded(b"".join(bytes(block) for block in blocks).decode())
        except FileNotFoundError:
            return None

    def _hold(self, export: PreparedExport) -> HeldFile:
        path = _path(export)
        with ExitStack() as stack:
            stack.enter_context(self._store.reading([path]))
            return HeldFile(path=Path(self._store.locate(path)), release=stack.pop_all().close)

    def _delete(self, export: PreparedExport) -> None:
        path = _path(export)
        self._store.delete_all([_about(path), path])

    def _sweep(self, at: datetime) -> int:
        del at  # the catalog knows what is due
        return 0


def _path(export: PreparedExport) -> str:
    return f"exports/{export.stream}/{export.fid}.export"


def _about(path: str) -> str:
    return path.removesuffix(".export") + ".json"


def _schedule_now(tx: Transaction, paths: list[str], *, at: datetime) -> None:
    garbage.put_off(tx, paths, until=at)
