"""Waiting for what is announced in the catalog, here or in another process."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from headwater.catalog.database import Database

#: Seconds until another look when nothing is announced: it may have been in another process.
PATIENCE = 1.0
#: Seconds between two looks, at least: what comes in quick succession is found together.
REST = 0.05


class Bell:
    """Wakes those who wait for a topic."""

    def __init__(self, db: Database, topic: str) -> None:
        """Listen to ``topic``, from the first time on that somebody waits."""
        self._db = db
        self._topic = topic
        self._rung = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_closed = False

    async def until(self, is_there: Callable[[], Awaitable[bool]], *, seconds: float) -> bool:
        """Look whether something is there, again when the topic is announced; return whether it is, in the end."""
        self._listen()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.is_closed:
                    self._rung.clear()
                    if await is_there():
                        return True
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PATIENCE):
                            await self._rung.wait()
                    await asyncio.sleep(REST)
        return not self.is_closed and await is_there()

    def close(self) -> None:
        """Let those who wait go, so that the server can stop."""
        self.is_closed = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._rung.set)

    def _listen(self) -> None:
        if self._loop is None:
            loop = self._loop = asyncio.get_running_loop()
            self._db.on(self._topic, lambda: loop.call_soon_threadsafe(self._rung.set))
