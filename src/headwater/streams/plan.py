"""Plans of streams, for readers on other machines: made when somebody asks for one, and kept as snapshots are.

The files that are written for a plan lie beside the snapshots of the stream, in
``iceberg/{stream}/{plan}/{version}-{layout}``, where ``plan`` is a name by the tasks that it leaves out. They are
deleted with the snapshots that nobody asks for (``streams/iceberg``).
"""

import asyncio
import os
from base64 import b32encode
from hashlib import sha256

from headwater.catalog.core.database import Database
from headwater.catalog.iceberg_snapshots import PLANS
from headwater.domain.errors import NoRoom
from headwater.lake.engine import Engine
from headwater.lake.plan import Plan, write_plan
from headwater.lake.store import Store
from headwater.streams.iceberg import ABOUT, FOLDER, Look, look_at, staged_folder
from headwater.streams.views import View

#: Characters of the name of a plan by the tasks that it leaves out: the catalog has room for them.
_NAMED = 11


class StreamPlans:
    """Makes and keeps the plans of streams."""

    def __init__(self, db: Database, engine: Engine, store: Store) -> None:
        """Keep them in the store."""
        self._db = db
        self._engine = engine
        self._store = store
        self._making: dict[str, asyncio.Lock] = {}

    async def plan(self, stream: str, view: View) -> Plan:
        """Return the plan of a view of a stream: its files can be read for an hour from now at least.

        Raises:
            NotFound, RequestInvalid, VersionForgotten, RunSettled: there is no such stream, version or task.
            SegmentDamaged: a segment is damaged.
            NoRoom: the disk is full.
        """
        look = await self._db.read(look_at, stream, view)
        if not look.seen:
            return Plan(version=look.version, docs=0, files=[], bounds=[])
        # One at a time in a process; between processes, the first one to finish is kept.
        async with self._one_at_a_time(stream):
            return await self._kept(look, name_of(view))

    def _one_at_a_time(self, stream: str) -> asyncio.Lock:
        return self._making.setdefault(stream, asyncio.Lock())

    async def _kept(self, look: Look, name: str) -> Plan:
        path = f"{FOLDER}/{look.stream.fid}/{name}/{look.name}"
        try:
            found = await asyncio.to_thread(self._found, path)
            return found or await self._engine.ask(self._made, look, path)
        except OSError as error:
            raise NoRoom(f"the plan cannot be written: {error.strerror or error}") from error

    def _found(self, path: str) -> Plan | None:
        about = self._store.root / path / ABOUT
        try:
            found = Plan.decoded(about.read_bytes())
            os.utime(about)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found

    def _made(self, look: Look, path: str) -> Plan:
        with staged_folder(self._store.root / path) as staged:
            made = write_plan(self._engine, look.seen, staged=staged, path=path, version=look.version)
            (staged / ABOUT).write_bytes(made.encoded())
        return made


def name_of(view: View) -> str:
    """Return the name of the plans of views that leave out the same tasks."""
    if not view.without:
        return PLANS
    digest = b32encode(sha256(",".join(sorted(view.without)).encode()).digest()).decode()
    return f"{PLANS}-{digest[:_NAMED].lower()}"
