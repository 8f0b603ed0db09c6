"""Plans of streams where the lake is an object store: made by one node, kept as snapshots are (``shared_iceberg``)."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

from headwater.catalog import iceberg_snapshots
from headwater.catalog.core.database import Database
from headwater.catalog.iceberg_snapshots import KeptSnapshot
from headwater.lake.engine import Engine
from headwater.lake.plan import Plan, write_plan
from headwater.lake.store import Store
from headwater.streams.iceberg import KEPT, Look
from headwater.streams.plan import StreamPlans
from headwater.streams.shared_iceberg import put_all, renewed, store_errors, table_folder


class SharedStreamPlans(StreamPlans):
    """The plans of all nodes on one object store."""

    def __init__(self, db: Database, engine: Engine, store: Store, *, clock: Callable[[], datetime]) -> None:
        """Keep them in the store."""
        super().__init__(db, engine, store)
        self._clock = clock

    async def _kept(self, look: Look, name: str) -> Plan:
        at = self._clock()
        usable = await self._db.read(iceberg_snapshots.usable, look.stream.fid, name, layout=look.stream.layout, at=at)
        with store_errors():
            kept = await renewed(self._db, look, usable, at)
            kept = kept or await self._engine.ask(self._made_and_kept, look, name, at)
        return Plan.decoded((kept.about or "").encode())

    def _made_and_kept(self, look: Look, name: str, at: datetime) -> KeptSnapshot:
        path = f"{table_folder(look.stream.fid, name)}/{look.name}-{token_hex(8)}"
        with TemporaryDirectory(dir=self._store.staging, prefix="plan-") as staged:
            made = write_plan(self._engine, look.seen, staged=Path(staged), path=path, version=look.version)
            files = put_all(self._store, sorted(Path(staged).iterdir()), path)
        kept = KeptSnapshot(
            stream=look.stream.fid,
            warehouse=name,
            version=look.version,
            layout=look.stream.layout,
            about=made.encoded().decode(),
            files=files,
            metadata=None,
            until=at + KEPT,
        )
        return asyncio.run(self._db.write(iceberg_snapshots.add, kept, new=files, at=at))
