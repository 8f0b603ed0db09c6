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
    #: The part of the time that the work may take, so that it leaves the machine to others.
    share: float = 1.0
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, db: Database) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        db.on(streams.CHANGED, lambda: loop.call_soon_threadsafe(self._woken.set))
        while True:
            self._woken.clear()
            began = time.monotonic()
            try:
                done = await self.turn()
            except Exception:
                # Files or database may be away for a while, and the loop must outlive it.
                log.exception("round.failed", of=self.name)
                done = 0
            await asyncio.sleep(max(self.rest, (time.monotonic() - began) * (1 / self.share - 1)))
            if not done:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.patience):
                        await self._woken.wait()
