"""A loop for background work that runs soon after streams change."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from headwater.catalog import streams
from headwater.catalog.core.database import Database
from headwater.domain.loop_health import turn_failed, turn_succeeded

log = structlog.get_logger(__name__)

#: Seconds without a change after which streams count as idle.
QUIET = 2.0


@dataclass(kw_only=True)
class BackgroundLoop:
    """A loop that calls a function again and again, soon after a stream has changed."""

    #: Its name in the log.
    name: str
    #: Does some of the work, and returns how much; 0 if none is left.
    turn: Callable[[], Awaitable[int]]
    #: Minimum seconds between two turns.
    rest: float
    #: Seconds until the next turn without a notification (another process may have changed a stream).
    poll_interval: float
    #: Maximum share of the time that the work takes while streams change, to leave processor time to others.
    share: float = 1.0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _changes: int = 0

    async def run(self, db: Database) -> None:
        """Run until cancelled."""
        loop = asyncio.get_running_loop()
        db.subscribe(streams.CHANGED, lambda: loop.call_soon_threadsafe(self._notified))
        while True:
            seen = self._changes
            began = time.monotonic()
            try:
                done = await self.turn()
            except Exception as error:
                # Files or database may be unavailable for a while, and the loop must survive that.
                turn_failed(error)
                log.exception("round.failed", of=self.name)
                done = 0
            else:
                turn_succeeded()
            worked = time.monotonic() - began
            await asyncio.sleep(self.rest)
            await self._yield_time(worked * (1 / self.share - 1) - self.rest)
            if not done and self._changes == seen:
                await self._wait(self.poll_interval)

    def _notified(self) -> None:
        self._changes += 1
        self._changed.set()

    async def _wait(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for a change; return whether there was one."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._changed.wait()
        return False

    async def _yield_time(self, seconds: float) -> None:
        """Sleep for ``seconds``, or until streams stop changing."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and await self._wait(min(left, QUIET)):  # noqa: ASYNC110 - it is both
            await asyncio.sleep(min(max(0.0, until - time.monotonic()), QUIET / 4))
