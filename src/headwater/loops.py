"""Background loops of a process: started, restarted when they end, cancelled together."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

import structlog

from headwater.domain.loop_health import LOOP, LoopHealth, turn_failed, turn_succeeded

log = structlog.get_logger(__name__)

#: Seconds until a loop that ended is restarted.
RESTART_AFTER = 5.0


class Loops:
    """Runs loops that should not end before they are cancelled."""

    def __init__(self, *, restart_after: float = RESTART_AFTER) -> None:
        """Restart a loop that ended after this many seconds."""
        self._restart_after = restart_after
        self._health: list[LoopHealth] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, run: Callable[[], Awaitable[object]]) -> None:
        """Run a loop until ``cancel``."""
        health = LoopHealth(name=name)
        self._health.append(health)
        self._tasks.append(asyncio.create_task(self._keep_running(health, run), name=name))

    def failing(self) -> Mapping[str, BaseException]:
        """Return the failing loops and their errors."""
        return {
            loop.name: loop.fault or RuntimeError("it failed without an error")
            for loop in self._health
            if loop.is_failing
        }

    async def cancel(self) -> None:
        """Cancel all loops, the last one first."""
        for task in reversed(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _keep_running(self, health: LoopHealth, run: Callable[[], Awaitable[object]]) -> None:
        LOOP.set(health)
        while True:
            fault: BaseException
            try:
                await run()
                fault = RuntimeError("it ended by itself")
            except asyncio.CancelledError as error:
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                fault = error  # cancelled from within, unexpectedly
            except Exception as error:  # noqa: BLE001 - logged below
                fault = error
            health.is_ended = True
            turn_failed(fault)
            with contextlib.suppress(Exception):
                log.error("loop.ended", loop=health.name, exc_info=fault)
            await asyncio.sleep(self._restart_after)


async def repeat(work: Callable[[], Awaitable[object]], *, every: float, fault: str) -> None:
    """Run ``work`` periodically until cancelled, and log the event ``fault`` when it fails."""
    while True:
        try:
            await work()
        except Exception as error:
            turn_failed(error)
            log.exception(fault)
        else:
            turn_succeeded()
        await asyncio.sleep(every)
