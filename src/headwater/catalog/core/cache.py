"""A bounded cache of values that snapshots of the catalog were read to."""

import threading
from collections import OrderedDict
from typing import Any, TypeVar

T = TypeVar("T")

#: Rows that are cached, of all values together.
MOST_ROWS = 2_000_000


class Cache:
    """The least recently used values are dropped first; thread-safe."""

    def __init__(self, *, most_rows: int = MOST_ROWS) -> None:
        """Hold values of ``most_rows`` together, and one in any case."""
        self._most_rows = most_rows
        self._held: OrderedDict[tuple[type, str], tuple[Any, int]] = OrderedDict()
        self._rows = 0
        self._lock = threading.Lock()

    def get(self, kind: type[T], key: str) -> T | None:
        """Return a value, or None."""
        with self._lock:
            if (found := self._held.get((kind, key))) is None:
                return None
            self._held.move_to_end((kind, key))
            return found[0]

    def put(self, kind: type[T], key: str, value: T, *, size: int) -> None:
        """Hold a value of so many rows instead of a former one."""
        with self._lock:
            _, former = self._held.pop((kind, key), (None, 0))
            self._held[kind, key] = (value, size)
            self._rows += size - former
            while self._rows > self._most_rows and len(self._held) > 1:
                _, (_, gone) = self._held.popitem(last=False)
                self._rows -= gone
