"""The clock for purging: the wall clock, unless it has jumped."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from headwater.catalog.believed_time import believe, believed_time
from headwater.catalog.core.database import Database
from headwater.domain.clock_jump import believed

log = structlog.get_logger(__name__)

#: A wall clock further from the believed time than this is reported.
DOUBT = timedelta(hours=1)


class BelievedClock:
    """Detects jumps of the wall clock, also between two runs of a server: the catalog stores the believed time."""

    def __init__(
        self, db: Database, *, clock: Callable[[], datetime], steady: Callable[[], float] = time.monotonic
    ) -> None:
        """Compare ``clock`` with ``steady``, a monotonic clock in seconds."""
        self._db = db
        self._clock = clock
        self._steady = steady
        self._looked: float | None = None
        self._lock = asyncio.Lock()

    async def now(self) -> datetime:
        """Return the time to purge by; never later than the wall clock."""
        async with self._lock:
            wall, steady = self._clock(), self._steady()
            before = await self._db.read(believed_time)
            # Only the wall clock knows how long no server ran: none of that time is believed at once.
            passed = timedelta(seconds=0 if self._looked is None else steady - self._looked)
            moment = wall if before is None else believed(before, wall, passed=passed)
            if moment != before:
                await self._db.write(believe, moment)
            self._looked = steady
        if abs(wall - moment) > DOUBT:
            log.warning("clock.doubted", wall=wall, believed=moment)
        return min(wall, moment)
