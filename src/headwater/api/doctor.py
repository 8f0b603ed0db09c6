"""Whether the parts of a Headwater answer: both stores are read and written."""

import asyncio
import time
from collections.abc import Mapping

from headwater.catalog import figures, keys
from headwater.catalog.database import Database
from headwater.lake.engine import Engine
from headwater.lake.store import LocalStore

#: Seconds for which what was found holds: who asks all the time does not keep the disks busy.
FRESH = 1.0
#: Seconds after which a part that has not answered does not answer.
PATIENCE = 5.0


class Doctor:
    """Has both stores read and write, and the engine answer."""

    def __init__(
        self, db: Database, store: LocalStore, engine: Engine, *, patience: float = PATIENCE, fresh: float = FRESH
    ) -> None:
        """Examine these; what was found holds for ``fresh`` seconds."""
        self._db = db
        self._store = store
        self._engine = engine
        self._patience = patience
        self._fresh = fresh
        self._looking: asyncio.Task[Mapping[str, BaseException]] | None = None
        self._until = 0.0

    async def silent(self) -> Mapping[str, BaseException]:
        """Return the parts that do not answer, and why; those who ask at once are told the same."""
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
        await asyncio.wait(asked.values(), timeout=self._patience)
        self._until = time.monotonic() + self._fresh
        return {name: fault for name, check in asked.items() if (fault := self._fault(check)) is not None}

    def _fault(self, check: asyncio.Future[None]) -> BaseException | None:
        if check.done():
            return check.exception()
        # It is left to itself: nobody can call back a thread that waits for a disk.
        check.add_done_callback(_forget)
        return TimeoutError(f"no answer within {self._patience:g} s")

    async def _database(self) -> None:
        await self._db.read(keys.are_there)
        await self._db.write(figures.touch)


def _forget(check: asyncio.Future[None]) -> None:
    if not check.cancelled():
        check.exception()
