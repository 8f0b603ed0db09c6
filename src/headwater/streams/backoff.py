"""Exponential backoff for background work that failed."""

from collections.abc import Callable

#: Seconds until the first retry; each further failure doubles them,
FIRST = 30.0
#: up to this maximum.
LONGEST = 6 * 3600.0
#: Maximum number of failures that are tracked; the oldest are dropped, and so retried.
MOST = 10_000


class Backoff:
    """Failed pieces of work, each with its growing delay until the next retry."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure time with ``clock``, in seconds."""
        self._clock = clock
        #: By key: consecutive failures, and the time of the next retry.
        self._failed: dict[str, tuple[int, float]] = {}

    def failed(self, key: str) -> float:
        """Record a failure; return the seconds until the next retry."""
        times = self._failed.pop(key, (0, 0.0))[0] + 1
        pause = min(LONGEST, FIRST * 2.0 ** min(times - 1, 30))
        self._failed[key] = (times, self._clock() + pause)
        if len(self._failed) > MOST:
            del self._failed[next(iter(self._failed))]
        return pause

    def succeeded(self, key: str) -> None:
        """Drop the failures of a piece of work."""
        self._failed.pop(key, None)

    def waiting(self) -> list[str]:
        """Return the keys that are not due for a retry yet."""
        now = self._clock()
        return sorted(key for key, (_, until) in self._failed.items() if now < until)
