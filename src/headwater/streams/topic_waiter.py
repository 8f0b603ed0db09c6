"""Waits for notifications of a topic in the catalog, from this or another process."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from headwater.catalog.core.database import Database

#: Seconds between polls without a notification: the change may have been made in another process.
PATIENCE = 1.0
#: The same while other processes' notifications arrive.
LONG_PATIENCE = 10.0
#: Minimum seconds between two polls: changes in quick succession are found together.
REST = 0.05


class TopicWaiter:
    """Wakes coroutines that wait for a topic."""

    def __init__(self, db: Database, topic: str) -> None:
        """Subscribe to ``topic`` at the first wait."""
        self._db = db
        self._topic = topic
        self._rung = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_closed = False

    async def wait_for(self, is_there: Callable[[], Awaitable[bool]], *, seconds: float) -> bool:
        """Poll ``is_there``, again after each notification of the topic; return its last result."""
        self._listen()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.is_closed:
                    self._rung.clear()
                    if await is_there():
                        return True
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LONG_PATIENCE if self._db.hears_others else PATIENCE):
                            await self._rung.wait()
                    await asyncio.sleep(REST)
        return not self.is_closed and await is_there()

    def close(self) -> None:
        """End all waits, so that the server can stop."""
        self.is_closed = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._rung.set)

    def _listen(self) -> None:
        if self._loop is None:
            loop = self._loop = asyncio.get_running_loop()
            self._db.subscribe(self._topic, lambda: loop.call_soon_threadsafe(self._rung.set))
