"""Detects jumps of the wall clock, by comparison with a monotonic clock."""

from collections.abc import Callable
from datetime import datetime, timedelta

#: Smaller corrections of a wall clock are normal.
TOLERANCE = timedelta(seconds=30)
#: The believed time follows a clock that has jumped at this many times the speed of time.
CATCH_UP = 10


class ClockWatch:
    """Detects jumps of a wall clock between two calls."""

    def __init__(self, *, steady: Callable[[], float]) -> None:
        """Compare with ``steady``, a monotonic clock in seconds."""
        self._steady = steady
        self._last: tuple[datetime, float] | None = None

    def jump(self, at: datetime) -> timedelta:
        """Return by how much the wall clock, ``at`` now, has jumped since the last call; zero if it has not."""
        before, self._last = self._last, (at, self._steady())
        if before is None:
            return timedelta(0)
        moved = (at - before[0]) - timedelta(seconds=self._last[1] - before[1])
        return moved if abs(moved) > TOLERANCE else timedelta(0)


def believed(before: datetime, wall: datetime, *, passed: timedelta) -> datetime:
    """Return the believed time, ``passed`` after ``before``, the last one.

    It follows the wall clock at once while that runs like time itself, and slowly after a jump, in both
    directions: a jump of a month that is corrected within an hour has moved it by ten hours, not by a month.
    """
    most = passed * CATCH_UP
    return before + min(max(wall - before, -most), most)
