"""Work that is done in turns, some time after what calls for it."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from headwater.catalog import streams
from headwater.catalog.database import Database

log = structlog.get_logger(__name__)

#: Seconds without a change after which nobody is disturbed any more.
QUIET = 2.0


@dataclass(kw_only=True)
class Rounds:
    """A loop that calls a turn again and again, soon after a stream has changed."""

    #: What it is called in the log.
    name: str
    #: Does some of the work, and returns how much; 0 if there is no more of it.
    turn: Callable[[], Awaitable[int]]
    #: Seconds between two turns, at least.
    rest: float
    #: Seconds until another look when nobody says that a stream changed (another process may have changed one).
    patience: float
    #: The part of the time that the work may take while streams change, so that it leaves the machine to others.
    share: float = 1.0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _changes: int = 0

    async def run(self, db: Database) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        db.on(streams.CHANGED, lambda: loop.call_soon_threadsafe(self._hear))
        while True:
            seen = self._changes
            began = time.monotonic()
            try:
                done = await self.turn()
            except Exception:
                # Files or database may be away for a while, and the loop must outlive it.
                log.exception("round.failed", of=self.name)
                done = 0
            worked = time.monotonic() - began
            await asyncio.sleep(self.rest)
            await self._leave_time(worked * (1 / self.share - 1) - self.rest)
            if not done and self._changes == seen:
                await self._wait(self.patience)

    def _hear(self) -> None:
        self._changes += 1
        self._changed.set()

    async def _wait(self, seconds: float) -> bool:
        """Wait for a change, for so long at most; return whether there was one."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._changed.wait()
        return False

    async def _leave_time(self, seconds: float) -> None:
        """Do nothing for so long, but no longer than streams go on changing."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and await self._wait(min(left, QUIET)):  # noqa: ASYNC110 - it is both
            await asyncio.sleep(min(max(0.0, until - time.monotonic()), QUIET / 4))
