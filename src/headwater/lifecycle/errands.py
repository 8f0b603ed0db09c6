"""What a loop begins and does not wait for, and what wakes it from its rest."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import structlog

from headwater.catalog.database import Database

log = structlog.get_logger(__name__)


class Errands:
    """Work that goes on beside a loop; the end of each errand wakes the loop."""

    def __init__(self, *, fault: str) -> None:
        """Log ``fault`` of an errand that fails."""
        self._fault = fault
        self._under_way: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._under_way)

    def begin(self, errand: Coroutine[Any, Any, None]) -> None:
        """Let an errand go on by itself."""
        begun = asyncio.create_task(errand)
        self._under_way.add(begun)
        begun.add_done_callback(self._ended)

    def _ended(self, errand: asyncio.Task[None]) -> None:
        self._under_way.discard(errand)
        self._woken.set()
        if not errand.cancelled() and (fault := errand.exception()) is not None:
            log.error(self._fault, exc_info=fault)

    def wake_on(self, db: Database, *topics: str) -> None:
        """Have the loop woken, too, when a topic is announced."""
        loop = asyncio.get_running_loop()
        for topic in topics:
            db.on(topic, lambda: loop.call_soon_threadsafe(self._woken.set))

    def begin_turn(self) -> None:
        """Forget what has woken the loop by now: its turn sees it."""
        self._woken.clear()

    async def rest(self, seconds: float) -> None:
        """Rest for so long, or until something wakes the loop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def cancel(self) -> None:
        """End what is under way."""
        for errand in self._under_way:
            errand.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
