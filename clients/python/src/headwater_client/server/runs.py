"""The runs of a server: so many at a time, the others in a queue."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from headwater_client.errors import TaskGone
from headwater_client.objects import Task
from headwater_client.server.orders import Order
from headwater_client.server.reports import Reporter
from headwater_client.server.run import BEGUN, Run

P = TypeVar("P")

log = logging.getLogger("headwater_client.server")

#: Seconds until a run that waits first says so. The answer tells how soon it must be heard again.
FIRST_NOTICE = 0.2
#: Seconds until it says so again, at most: people see how the queue moves.
NOTICE = 60.0
#: How much of a crawler's timeout may pass until then, so that a notice or two may get lost.
SHARE = 1 / 3
#: Tasks that are remembered when they have ended, for an order that comes again because its answer was lost.
REMEMBERED = 10_000

_CONTINUES = 102


class NoRoom(Exception):
    """As many runs wait as may."""


class Leaving(Exception):
    """The server shuts down."""


class Runs(Generic[P]):
    """What runs, what waits, and what has been."""

    def __init__(self, reporter: Reporter, *, concurrency: int, waiting: int, grace: float) -> None:
        """Have none yet.

        Args:
            reporter: tells Headwater of those that wait.
            concurrency: how many run at a time.
            waiting: how many wait at most.
            grace: seconds that runs have to come to their end when the server shuts down.
        """
        self._reporter = reporter
        self._concurrency = concurrency
        self._room = waiting
        self._grace = grace
        self._running: dict[asyncio.Task[None], Run[P]] = {}
        #: Those that wait, in order, each with what tells Headwater so.
        self._waiting: dict[Run[P], asyncio.Task[None]] = {}
        #: The run of each task that waits, or runs and is not over.
        self._present: dict[str, Run[P]] = {}
        #: The attempts of each task that are no more, latest last.
        self._past: OrderedDict[str, set[Any]] = OrderedDict()
        self._is_leaving = False
        self._patience: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """How many run; one that is over counts until its function has returned."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def begin(self, order: Order[P], make: Callable[[Order[P]], Run[P]]) -> str:
        """Run an order, or let it wait; the same again changes nothing, a new attempt takes the former's place.

        Args:
            order: what to run.
            make: makes a run of it.

        Returns:
            how it stands, for people.

        Raises:
            NoRoom, Leaving: it is not taken.
        """
        former = self._present.get(order.fid)
        if former is not None and former.order.attempt == order.attempt:
            return self._standing(former)
        if order.attempt in self._past.get(order.fid, ()):
            return BEGUN
        self.end(order.fid)
        if self._is_leaving:
            raise Leaving
        if self.running >= self._concurrency and self.waiting >= self._room:
            raise NoRoom
        run = self._present[order.fid] = make(order)
        self._waiting[run] = asyncio.get_running_loop().create_task(self._tell(run))
        self._go_on(new=run)
        return self._standing(run)

    def end(self, fid: str) -> bool:
        """End a task's run without a word to Headwater; tell whether there is, or was, one."""
        run = self._present.get(fid)
        if run is not None:
            log.info("task %s is ended by Headwater", fid)
            run.drop()
            self._no_more(run)
        return fid in self._past

    def open(self) -> None:
        """Take runs, again if there was a shutdown before."""
        self._is_leaving = False

    async def shut_down(self) -> None:
        """Take nothing more, let runs come to their end for a while, and then end the rest, each with a report."""
        self._is_leaving = True
        waiting = list(self._waiting)
        leaving = [asyncio.ensure_future(run.leave()) for run in waiting]
        for run in waiting:
            self._no_more(run)
        patience = self._patience = asyncio.get_running_loop().create_task(asyncio.sleep(self._grace))
        while self._running and not patience.done():
            await asyncio.wait({patience, *self._running}, return_when=asyncio.FIRST_COMPLETED)
        patience.cancel()
        leaving += [asyncio.ensure_future(run.leave()) for run in self._running.values() if not run.over.is_set()]
        await asyncio.gather(*leaving)

    def hurry(self) -> None:
        """Let a shutdown wait no longer for runs to come to their end."""
        if self._patience is not None:
            self._patience.cancel()

    def _go_on(self, *, new: Run[P] | None = None) -> None:
        while self._waiting and self.running < self._concurrency:
            run, notices = next(iter(self._waiting.items()))
            del self._waiting[run]
            notices.cancel()
            work = run.begin(has_waited=run is not new)
            self._running[work] = run
            work.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Task[None]) -> None:
        run = self._running.pop(work)
        if not work.cancelled() and (fault := work.exception()) is not None:
            log.error("task %s: the run failed, and cannot report it", run.order.fid, exc_info=fault)
        self._no_more(run)
        if not self._is_leaving:
            self._go_on()

    def _no_more(self, run: Run[P]) -> None:
        """Remember a run as one that has been."""
        notices = self._waiting.pop(run, None)
        if notices is not None:
            notices.cancel()
        fid = run.order.fid
        if self._present.get(fid) is run:
            del self._present[fid]
        self._past.setdefault(fid, set()).add(run.order.attempt)
        self._past.move_to_end(fid)
        if len(self._past) > REMEMBERED:
            self._past.popitem(last=False)

    def _standing(self, run: Run[P]) -> str:
        return self._waits(run) if run in self._waiting else BEGUN

    def _waits(self, run: Run[P]) -> str:
        others = self.running + list(self._waiting).index(run)
        return f"waits for {others} other{'' if others == 1 else 's'}"

    async def _tell(self, run: Run[P]) -> None:
        """Tell Headwater now and then that a run waits, or else it would be taken for silent."""
        pause = FIRST_NOTICE
        while True:
            await asyncio.sleep(pause)
            try:
                task = await self._reporter.report(run.order, _CONTINUES, self._waits(run))
            except TaskGone:
                self.end(run.order.fid)
                return
            pause = max(pause, 1.0) if task is None else pause_before_notice(task)


def pause_before_notice(task: Task) -> float:
    """Return the seconds after which a task that waits must be heard again; its crawler's timeout may be short."""
    if task.deadline is None or task.heard_at is None:
        return NOTICE
    return min(NOTICE, (task.deadline - task.heard_at).total_seconds() * SHARE)
