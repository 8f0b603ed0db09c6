"""Loop for what is due: scheduled runs, automatic retries, missed runs. Any number of processes may run it."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

import structlog

from headwater.catalog import crawlers, events, tasks
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.vault import Vault
from headwater.domain.errors import HeadwaterError, MovedMeanwhile, Unavailable
from headwater.domain.loop_health import turn_failed, turn_succeeded
from headwater.domain.schedule import Rng
from headwater.lifecycle import expectations, retries, schedules
from headwater.lifecycle import tasks as task_actions
from headwater.lifecycle.turn_timer import TurnTimer

log = structlog.get_logger(__name__)

#: Batch size of due runs and retries.
MANY = 100


class Scheduler:
    """Starts due runs and retries, each in its own transaction."""

    def __init__(self, db: Database, *, vault: Vault, clock: Callable[[], datetime], rng: Rng) -> None:
        """Read the time from ``clock``; ``rng`` draws the jitter of scheduled runs."""
        self._db = db
        self._vault = vault
        self._clock = clock
        self._rng = rng
        self._timer = TurnTimer()

    async def run(self) -> None:
        """Run until cancelled."""
        # Schedules, expectations and retries are set by changes of crawlers and tasks, which are events.
        self._timer.wake_on(self._db, changes=(events.APPENDED,))
        while True:
            self._timer.begin_turn()
            try:
                await self.turn(at=self._clock())
            except Exception as error:
                # The database may be down for a while; nothing is lost, and the loop must survive it.
                turn_failed(error)
                log.exception("scheduler.turn_failed")
            else:
                turn_succeeded()
            await self._timer.wait(partial(self._db.read, _next_due), clock=self._clock)

    async def turn(self, *, at: datetime) -> None:
        """Start the runs and retries that are due, and tell of expected runs that were missed."""
        due = await self._db.read(_next_due)
        if due is None or due > at:
            return
        for fid in await self._db.read(crawlers.due, at=at, limit=MANY):
            await self._run(fid, at=at)
        for fid in await self._db.read(tasks.to_retry, at=at, limit=MANY):
            await self._retry(fid, at=at)

        for fid in await self._db.read(crawlers.overdue, at=at, limit=MANY):
            await self._db.write(expectations.miss_due, fid, at=at)

    async def _run(self, fid: str, *, at: datetime) -> None:
        try:
            await self._db.write(schedules.run_due, fid, vault=self._vault, at=at, rng=self._rng)
        except (MovedMeanwhile, Unavailable):
            log.info("schedule.put_off", crawler=fid)  # the next turn tries again
        except HeadwaterError as error:
            await self._db.write(schedules.skip_due, fid, _why(error), at=at, rng=self._rng)

    async def _retry(self, fid: str, *, at: datetime) -> None:
        try:
            await self._db.write(task_actions.retry_due, fid, vault=self._vault, at=at)
        except (MovedMeanwhile, Unavailable):
            log.info("task.retry_put_off", task=fid)  # changed meanwhile, or the catalog is down
        except HeadwaterError as error:
            await self._db.write(retries.give_up, fid, _why(error), at=at)


def _next_due(tx: Transaction) -> datetime | None:
    """Return when the next run or retry is due, or the next run missed."""
    moments = (crawlers.next_due(tx), tasks.next_retry(tx))
    return min((moment for moment in moments if moment is not None), default=None)


def _why(error: HeadwaterError) -> str:
    return f"{error.detail}: {error.flaws[0].message}" if error.flaws else error.detail
