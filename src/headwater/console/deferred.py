"""What takes longer than a page should: the frame of the page comes at once, and what it shows when it is ready.

The browser asks for the page again, which then waits for what the first request began. Without scripts it does so by
a refresh. Another process of the server, which has begun nothing, computes it anew.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

#: Seconds for which a page waits before its frame comes alone.
PATIENCE = 0.1
#: Seconds for which a result is kept for a browser to come back.
KEPT = 30.0
#: Results that are computed or kept at a time; a page beyond waits for its own.
MOST = 64


@dataclass
class DeferredResults:
    """Results that pages have begun to compute."""

    patience: float = PATIENCE
    _tasks: dict[str, asyncio.Future[Any]] = field(default_factory=dict[str, asyncio.Future[Any]])

    async def result(self, name: str, work: Callable[[], Awaitable[T]], *, waits: bool) -> T | None:
        """Return the result of some work; None if it takes longer, and will be asked for again by its name.

        A request that ``waits`` does so for as long as it takes.
        """
        task: asyncio.Future[T] | None = self._tasks.get(name)
        # A result that nobody has come back for may be out of date.
        if task is None or (task.done() and not waits):
            task = asyncio.ensure_future(work())
        if waits or len(self._tasks) >= MOST:
            try:
                return await asyncio.shield(task)
            finally:
                self._forget(name, task)
        done, _ = await asyncio.wait([task], timeout=self.patience)
        if done:
            self._forget(name, task)
            return task.result()
        if self._tasks.get(name) is not task:
            self._tasks[name] = task
            task.add_done_callback(lambda ended: self._keep(name, ended))
        return None

    def _keep(self, name: str, ended: asyncio.Future[Any]) -> None:
        if not ended.cancelled():
            ended.exception()  # whoever asks for it hears of it; nobody else need to
        asyncio.get_running_loop().call_later(KEPT, self._forget, name, ended)

    def _forget(self, name: str, ended: asyncio.Future[Any]) -> None:
        if self._tasks.get(name) is ended:
            del self._tasks[name]
