"""How often a key may ask: so many requests a minute, counted together by all workers."""

import math
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass

from headwater.catalog.keys import Key
from headwater.domain.errors import TooManyRequests

MINUTE = 60.0
#: Keys that are counted at once; where there are more, those that cannot be counted are let in.
SLOTS = 4096
#: Numbers that a key takes: which one it is, and when it has had all that it has taken.
_WIDTH = 2
#: Slots in which a key may be.
_PROBES = 8


def cells() -> int:
    """Return how many numbers an allowance needs to count with."""
    return SLOTS * _WIDTH


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """A bucket for each key, which holds a minute's requests and is filled evenly.

    Of each key, one number is kept: the moment at which its bucket will be full again (GCRA). So workers can share it
    in plain memory, and where two of them write at once, one request is not counted.
    """

    #: Requests a minute; None is any number.
    most: int | None
    #: A clock that all who share the memory have in common, in seconds.
    clock: Callable[[], float]
    #: ``cells()`` numbers, 0 at first; workers share them.
    shared: MutableSequence[float]

    def take(self, key: Key) -> None:
        """Count a request of a key.

        Raises:
            TooManyRequests: it has had all that it may have for now.
        """
        if self.most is None:
            return
        now, each = self.clock(), MINUTE / self.most
        mark = float(int(key.fid[-13:], 16) + 1)  # of its random part, as much as a float holds
        slot = self._slot(mark, now)
        if slot is None:
            return
        is_known = self.shared[slot] == mark
        full_at = max(self.shared[slot + 1], now) if is_known else now
        wait = full_at + each - now - MINUTE
        if wait > 0:
            seconds = math.ceil(wait)
            raise TooManyRequests(
                f"key {key.name!r} may make {self.most} requests a minute (setting requests_per_minute); "
                f"go on in {seconds} s",
                retry_after=seconds,
            )
        self.shared[slot] = mark
        self.shared[slot + 1] = full_at + each

    def _slot(self, mark: float, now: float) -> int | None:
        """Return where a key is counted: where it is already, or where one was whose bucket is full again."""
        first = int(mark) % SLOTS
        slots = [(first + probe) % SLOTS * _WIDTH for probe in range(_PROBES)]
        known = next((slot for slot in slots if self.shared[slot] == mark), None)
        return known if known is not None else next((slot for slot in slots if self.shared[slot + 1] <= now), None)
