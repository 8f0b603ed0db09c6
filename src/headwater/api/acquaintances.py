"""Who was here a moment ago."""

import time

from headwater.domain.task import Task

#: Seconds for which a task that was looked up is known.
KNOWN_FOR = 1.0
#: Tasks that are known, at most.
MOST_KNOWN = 10_000


class Acquaintances:
    """Tasks that were looked up a moment ago, so that each of many small uploads need not look theirs up anew.

    What a task has become meanwhile, the transaction that an upload ends in sees.
    """

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[str, tuple[float, Task]] = {}

    def find(self, fid: str) -> Task | None:
        """Return a task as it was a moment ago; None if nobody looked."""
        until, task = self._known.get(fid, (0.0, None))
        return task if time.monotonic() < until else None

    def add(self, task: Task) -> None:
        """Keep a task for a moment."""
        while len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[task.fid] = (time.monotonic() + KNOWN_FOR, task)
