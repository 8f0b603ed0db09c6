"""Slots that limit the number of working threads; a thread that waits for the sandbox gives up its slot."""

import threading
from collections.abc import Generator
from contextlib import contextmanager

_thread = threading.local()


class Slots:
    """A limit on working threads; any number may wait for the sandbox in addition."""

    def __init__(self, count: int) -> None:
        """Allow ``count`` threads to work."""
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def taken(self) -> Generator[None]:
        """Hold a slot, waiting until one is free."""
        with self._free:
            _thread.free = self._free
            try:
                yield
            finally:
                _thread.free = None


@contextmanager
def slot_released() -> Generator[None]:
    """Release this thread's slot, if it has one, while the block runs."""
    free: threading.BoundedSemaphore | None = getattr(_thread, "free", None)
    if free is None:
        yield
        return
    free.release()
    try:
        yield
    finally:
        free.acquire()
