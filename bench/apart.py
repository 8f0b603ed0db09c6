"""Functions that run in a process of their own, so that its processor time and memory are its own too."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from examples.packages_crawler.processes import Failed

P = ParamSpec("P")
T = TypeVar("T")


class Apart:
    """A process beside this one: it calls functions, one at a time, and keeps what they cache."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        """Let a pool of one process call them."""
        self._pool = pool

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function returns there.

        Raises:
            Failed: the process died.
        """
        try:
            return self._pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool as error:
            raise Failed(f"the process in which {function.__qualname__} ran died: {error}") from error


@contextlib.contextmanager
def apart() -> Generator[Apart]:
    """Start a process, with nothing of this one in it, and end it with the block."""
    # Ctrl-C reaches all processes of a terminal, and this one knows what to do.
    with ProcessPoolExecutor(
        1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:
        yield Apart(pool)
