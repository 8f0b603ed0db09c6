"""Readiness check: both stores can be read and written, and the background loops work."""

import asyncio
import time
from collections.abc import Callable, Mapping

from headwater.catalog import keys, stats
from headwater.catalog.core.database import Database
from headwater.lake.engine import Engine
from headwater.lake.store import Store

#: Seconds for which a result is cached, so that frequent probes do not load the disks.
FRESH = 1.0
#: Seconds after which a check counts as failed.
TIMEOUT = 5.0


class ReadinessCheck:
    """Reads and writes both stores, and queries the engine."""

    def __init__(
        self,
        db: Database,
        store: Store,
        engine: Engine,
        *,
        loops: Callable[[], Mapping[str, BaseException]] = dict,
        timeout: float = TIMEOUT,
        fresh: float = FRESH,
    ) -> None:
        """Check these, and the failing ``loops``; a result is cached for ``fresh`` seconds."""
        self._db = db
        self._store = store
        self._engine = engine
        self._loops = loops
        self._timeout = timeout
        self._fresh = fresh
        self._looking: asyncio.Task[Mapping[str, BaseException]] | None = None
        self._until = 0.0

    async def failures(self) -> Mapping[str, BaseException]:
        """Return the failing parts and their errors; concurrent calls share a result."""
        if self._looking is None or (self._looking.done() and time.monotonic() >= self._until):
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> Mapping[str, BaseException]:
        checks = {
            "database": self._database(),
            "store": asyncio.to_thread(self._store.check),
            "engine": self._engine.ask(self._engine.check),
        }
        asked = {name: asyncio.ensure_future(check) for name, check in checks.items()}
        await asyncio.wait(asked.values(), timeout=self._timeout)
        self._until = time.monotonic() + self._fresh
        silent = {name: fault for name, check in asked.items() if (fault := self._fault(check)) is not None}
        return silent | {f"loop {name}": fault for name, fault in self._loops().items()}

    def _fault(self, check: asyncio.Future[None]) -> BaseException | None:
        if check.done():
            return check.exception()
        # Abandoned: a thread that waits for a disk cannot be cancelled.
        check.add_done_callback(_forget)
        return TimeoutError(f"no answer within {self._timeout:g} s")

    async def _database(self) -> None:
        await self._db.read(keys.are_there)
        await self._db.write(stats.touch)


def _forget(check: asyncio.Future[None]) -> None:
    if not check.cancelled():
        check.exception()
