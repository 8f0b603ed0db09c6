"""Concurrent tasks started by a loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class InFlight:
    """Tasks that run concurrently with a loop; the end of each may wake the loop."""

    def __init__(self, *, fault: str, ended: Callable[[], object] = lambda: None) -> None:
        """Log the event ``fault`` when a task fails; call ``ended`` when one ends."""
        self._fault = fault
        self._when_ended = ended
        self._under_way: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """The number of tasks in flight."""
        return len(self._under_way)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task without waiting for it."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._when_ended()
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error(self._fault, exc_info=fault)

    async def idle(self) -> None:
        """Wait until no task is in flight."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def cancel(self) -> None:
        """Cancel all tasks."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
