"""The memory budget that all uploads share, and what is spilled when they exceed it."""

import threading
from itertools import islice
from typing import Protocol


class Holder(Protocol):
    """An upload that holds memory between two chunks of its body."""

    @property
    def held(self) -> int:
        """Bytes that it holds."""
        ...

    def spill(self) -> None:
        """Write what it holds to its file, as far as possible."""
        ...


class MemoryBudget:
    """Limits the memory of all uploads together; thread-safe.

    Over budget, an upload flushes its row group early; then the largest idle uploads (of stalled clients, say) flush
    theirs. If that is not enough, reading is paused for all but the oldest uploads.
    """

    def __init__(self, most: int, *, always: int = 1) -> None:
        """Limit uploads to ``most`` bytes together; the oldest ``always`` uploads may read in any case."""
        self._most = most
        self._always = always
        self._lock = threading.Lock()
        #: The last known size of each upload, and the lock that is held while it is processed.
        self._holders: dict[Holder, tuple[int, threading.Lock]] = {}
        self._total = 0

    @property
    def is_left(self) -> bool:
        """Whether the budget is not exceeded."""
        return self._total <= self._most

    def may_read(self, holder: Holder) -> bool:
        """Whether an upload may continue to read."""
        if self.is_left:
            return True
        with self._lock:
            return holder in islice(self._holders, self._always)

    def register(self, holder: Holder) -> threading.Lock:
        """Start accounting for an upload; return the lock that must be held while it is processed."""
        lock = threading.Lock()
        with self._lock:
            self._holders[holder] = (0, lock)
        return lock

    def release(self, holder: Holder) -> None:
        """Stop accounting for an upload."""
        with self._lock:
            held, _ = self._holders.pop(holder, (0, None))
            self._total -= held

    def charge(self, holder: Holder) -> None:
        """Update the size of an upload whose lock the caller holds; over budget, spill it and then others."""
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
