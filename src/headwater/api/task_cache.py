"""Cache of tasks that were looked up within the last second."""

import time

from headwater.domain.task import Task

#: Time to live in seconds.
KNOWN_FOR = 1.0
#: Maximum number of tasks.
MOST_KNOWN = 10_000


class TaskCache:
    """A TTL cache of tasks, so that frequent small uploads need not read their task each time.

    A cached task may be outdated; the transaction that commits an upload reads it again.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._known: dict[str, tuple[float, Task]] = {}

    def get(self, fid: str) -> Task | None:
        """Return a task that was cached less than ``KNOWN_FOR`` seconds ago, otherwise None."""
        until, task = self._known.get(fid, (0.0, None))
        return task if time.monotonic() < until else None

    def put(self, task: Task) -> None:
        """Cache a task."""
        while len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[task.fid] = (time.monotonic() + KNOWN_FOR, task)
