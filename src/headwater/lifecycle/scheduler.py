"""The loop that starts what is due by itself. Any number of processes may run it."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from headwater.catalog import crawlers, tasks
from headwater.catalog.database import Database
from headwater.catalog.vault import Vault
from headwater.domain.errors import HeadwaterError, MovedMeanwhile, Unavailable
from headwater.domain.schedule import Dice
from headwater.lifecycle import actions, retries, schedules

log = structlog.get_logger(__name__)

#: Seconds between two looks.
REST = 1.0
#: What is due is started so many at a time.
MANY = 100


class Scheduler:
    """Starts what the catalog says is due, each in a transaction of its own."""

    def __init__(self, db: Database, *, vault: Vault, clock: Callable[[], datetime], dice: Dice) -> None:
        """Ask ``clock`` what the time is, and ``dice`` how much later than planned a run comes."""
        self._db = db
        self._vault = vault
        self._clock = clock
        self._dice = dice

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self.turn(at=self._clock())
            except Exception:
                # The database may be away for a while; nothing is lost, and the loop must outlive it.
                log.exception("scheduler.turn_failed")
            await asyncio.sleep(REST)

    async def turn(self, *, at: datetime) -> None:
        """Start the runs that are due, and retry what is to be retried by now."""
        for fid in await self._db.read(crawlers.due, at=at, limit=MANY):
            await self._run(fid, at=at)
        for fid in await self._db.read(tasks.to_retry, at=at, limit=MANY):
            await self._retry(fid, at=at)

    async def _run(self, fid: str, *, at: datetime) -> None:
        try:
            await self._db.write(schedules.run_due, fid, vault=self._vault, at=at, dice=self._dice)
        except (MovedMeanwhile, Unavailable):
            log.info("schedule.put_off", crawler=fid)  # the next turn tells
        except HeadwaterError as error:
            await self._db.write(schedules.skip_due, fid, _why(error), at=at, dice=self._dice)

    async def _retry(self, fid: str, *, at: datetime) -> None:
        try:
            await self._db.write(actions.retry_due, fid, vault=self._vault, at=at)
        except (MovedMeanwhile, Unavailable):
            log.info("task.retry_put_off", task=fid)  # somebody is at it, or nobody can: the next turn tells
        except HeadwaterError as error:
            await self._db.write(retries.give_up, fid, _why(error), at=at)


def _why(error: HeadwaterError) -> str:
    return f"{error.detail}: {error.flaws[0].message}" if error.flaws else error.detail
