"""Routes what a crawl function logs to the log of its task."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator
from contextvars import ContextVar

_CURRENT: ContextVar[logging.Handler | None] = ContextVar("headwater_task_log", default=None)


class _Router(logging.Handler):
    """Passes each record on to the handler of the run that logs it: several run in one process."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, if a run logs it."""
        handler = _CURRENT.get()
        if handler is not None and record.levelno >= handler.level:
            handler.handle(record)


_ROUTER = _Router()


@contextlib.contextmanager
def logged_to(handler: logging.Handler) -> Generator[None]:
    """Send to a handler what is logged within this block, and in the tasks and threads that it starts by asyncio."""
    root = logging.getLogger()
    if _ROUTER not in root.handlers:
        root.addHandler(_ROUTER)
    before = _CURRENT.set(handler)
    try:
        yield
    finally:
        _CURRENT.reset(before)
