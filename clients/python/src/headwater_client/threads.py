"""Work in threads of its own, awaited."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def in_thread(work: Callable[[], T], *, name: str) -> asyncio.Future[T]:
    """Begin to work in a new thread, and return what is to be awaited for the outcome.

    The thread is a daemon: work that does not end, such as a crawl that is not wanted any more, keeps no process from
    ending. Threads of a pool would, and are few.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(how: Callable[[Any], None], what: Any) -> None:
        def settled() -> None:
            if not outcome.done():  # whoever waited has been cancelled
                how(what)

        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settled)

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where it is awaited
            settle(outcome.set_exception, error)
        else:
            settle(outcome.set_result, result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome
