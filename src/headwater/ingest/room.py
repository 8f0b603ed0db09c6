"""The memory that uploads hold, all together, and what is done when it is more than they may."""

import threading
from itertools import islice
from typing import Protocol


class Holder(Protocol):
    """An upload that holds memory between two parts of its body."""

    @property
    def held(self) -> int:
        """How many bytes it holds."""
        ...

    def spill(self) -> None:
        """Write what it holds to its file, as far as that goes."""
        ...


class Room:
    """Bounds what uploads hold; used from many threads.

    Who is too much writes what it holds to its file sooner than it would, in smaller parts, and then has those
    do the same that hold the most and have nothing to do, a client that stalls, say. Where that does not
    suffice, those that came last read no more for a while.
    """

    def __init__(self, most: int, *, always: int = 1) -> None:
        """Let uploads hold ``most`` bytes together; the ``always`` that came first go on in any case."""
        self._most = most
        self._always = always
        self._lock = threading.Lock()
        #: What each held when it last said so, and the lock that who works on it has.
        self._holders: dict[Holder, tuple[int, threading.Lock]] = {}
        self._total = 0

    @property
    def is_left(self) -> bool:
        """Whether there is room for more."""
        return self._total <= self._most

    def lets(self, holder: Holder) -> bool:
        """Whether an upload may go on to read."""
        if self.is_left:
            return True
        with self._lock:
            return holder in islice(self._holders, self._always)

    def enter(self, holder: Holder) -> threading.Lock:
        """Count an upload from now on; whoever works on it must have the lock."""
        lock = threading.Lock()
        with self._lock:
            self._holders[holder] = (0, lock)
        return lock

    def leave(self, holder: Holder) -> None:
        """Count an upload no more."""
        with self._lock:
            held, _ = self._holders.pop(holder, (0, None))
            self._total -= held

    def make(self, holder: Holder) -> None:
        """Count what an upload holds now, and make room where that is too much; its lock is the caller's."""
        self._count(holder)
        if self.is_left:
            return
        holder.spill()
        self._count(holder)
        for other, lock in self._largest(but=holder):
            if self.is_left:
                return
            if lock.acquire(blocking=False):
                try:
                    other.spill()
                    self._count(other)
                finally:
                    lock.release()

    def _count(self, holder: Holder) -> None:
        with self._lock:
            if holder in self._holders:
                before, lock = self._holders[holder]
                self._holders[holder] = (holder.held, lock)
                self._total += holder.held - before

    def _largest(self, *, but: Holder) -> list[tuple[Holder, threading.Lock]]:
        with self._lock:
            others = [(held, each, lock) for each, (held, lock) in self._holders.items() if each is not but and held]
        others.sort(key=lambda one: one[0], reverse=True)
        return [(each, lock) for _, each, lock in others]
