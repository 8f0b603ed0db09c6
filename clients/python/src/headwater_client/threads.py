"""Runs blocking work in daemon threads, awaitable from asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def in_thread(work: Callable[[], T], *, name: str) -> asyncio.Future[T]:
    """Run a function in a new thread, and return a future of its result.

    The thread is a daemon: work that never ends, such as an obsolete crawl, does not keep the process from exiting.
    Threads of an executor would, and their number is limited.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(how: Callable[[Any], None], what: Any) -> None:
        def settled() -> None:
            if not outcome.done():  # it may have been cancelled
                how(what)

        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settled)

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised where the future is awaited
            settle(outcome.set_exception, error)
        else:
            settle(outcome.set_result, result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome
