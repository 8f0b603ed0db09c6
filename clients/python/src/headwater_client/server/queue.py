"""Queue of a server's runs: starts them up to the concurrency limit, and remembers those that have ended."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from headwater_client.errors import TaskGone
from headwater_client.models.objects import Task
from headwater_client.server.reports import Reporter
from headwater_client.server.run import BEGUN, Run
from headwater_client.server.start_request import StartRequest

P = TypeVar("P")

log = logging.getLogger("headwater_client.server")

#: Seconds until the first heartbeat of a queued run; its response determines when the next one is due.
FIRST_NOTICE = 0.2
#: Maximum seconds between heartbeats, so that people see the queue position change.
NOTICE = 60.0
#: Maximum share of the crawler's timeout between heartbeats, so that one or two may be lost.
SHARE = 1 / 3
#: Number of ended tasks to remember, since Headwater repeats a start request whose response was lost.
REMEMBERED = 10_000

_CONTINUES = 102


class NoRoom(Exception):
    """The queue is full."""


class Leaving(Exception):
    """The server is shutting down."""


class RunQueue(Generic[P]):
    """Running, queued and past runs."""

    def __init__(self, reporter: Reporter, *, concurrency: int, waiting: int, grace: float) -> None:
        """Create an empty queue.

        Args:
            reporter: sends heartbeats of queued runs.
            concurrency: maximum number of concurrent runs.
            waiting: maximum number of queued runs.
            grace: seconds that runs have to finish on shutdown.
        """
        self._reporter = reporter
        self._concurrency = concurrency
        self._room = waiting
        self._grace = grace
        self._running: dict[asyncio.Task[None], Run[P]] = {}
        #: Queued runs in order, each with the asyncio task that sends its heartbeats.
        self._waiting: dict[Run[P], asyncio.Task[None]] = {}
        #: The current run of each task, queued or running.
        self._present: dict[str, Run[P]] = {}
        #: Past attempts of each task, most recent last.
        self._past: OrderedDict[str, set[Any]] = OrderedDict()
        self._is_leaving = False
        self._grace_timer: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """Number of running runs; one that is over counts until its function has returned."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Number of queued runs."""
        return len(self._waiting)

    def begin(self, order: StartRequest[P], make: Callable[[StartRequest[P]], Run[P]]) -> str:
        """Start a task, or queue it. Idempotent per attempt; a new attempt replaces the previous one.

        Args:
            order: the start request.
            make: creates a run for it.

        Returns:
            its state, human-readable.

        Raises:
            NoRoom, Leaving: it is not accepted.
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
        self._waiting[run] = asyncio.get_running_loop().create_task(self._send_heartbeats(run))
        self._go_on(new=run)
        return self._standing(run)

    def end(self, fid: str) -> bool:
        """End a task's run without reporting a status; return whether the task is or was here."""
        run = self._present.get(fid)
        if run is not None:
            log.info("task %s is ended by Headwater", fid)
            run.drop()
            self._no_more(run)
        return fid in self._past

    def open(self) -> None:
        """Accept runs, also after a shutdown."""
        self._is_leaving = False

    async def shut_down(self) -> None:
        """Accept no more runs, wait for the grace period, then end the remaining runs and report their failure."""
        self._is_leaving = True
        waiting = list(self._waiting)
        leaving = [asyncio.ensure_future(run.leave()) for run in waiting]
        for run in waiting:
            self._no_more(run)
        timer = self._grace_timer = asyncio.get_running_loop().create_task(asyncio.sleep(self._grace))
        while self._running and not timer.done():
            await asyncio.wait({timer, *self._running}, return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        leaving += [asyncio.ensure_future(run.leave()) for run in self._running.values() if not run.over.is_set()]
        await asyncio.gather(*leaving)

    def hurry(self) -> None:
        """End the grace period of a shutdown now."""
        if self._grace_timer is not None:
            self._grace_timer.cancel()

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
        """Move a run to the past ones."""
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

    async def _send_heartbeats(self, run: Run[P]) -> None:
        """Report regularly that a run is queued, so that its task does not time out."""
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
    """Return the seconds until the next heartbeat of a queued task; its crawler's timeout may be short."""
    if task.deadline is None or task.heard_at is None:
        return NOTICE
    return min(NOTICE, (task.deadline - task.heard_at).total_seconds() * SHARE)
