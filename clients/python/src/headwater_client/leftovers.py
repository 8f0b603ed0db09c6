"""Warns in the log about tasks that the program leaves open."""

from __future__ import annotations

import atexit
import logging
import weakref
from typing import Protocol

log = logging.getLogger("headwater_client")


class Closable(Protocol):
    """A writer of a task."""

    @property
    def fid(self) -> str:
        """The task's fid."""
        ...

    def leave(self) -> int:
        """Upload the remaining documents within a few seconds; return how many could not be uploaded."""
        ...


def how_to_close(fid: str) -> str:
    """Return how to close a task that is still open."""
    return (
        f"it stays open until it has been silent for its crawler's timeout; 'headwater tasks stop {fid}' ends it now, "
        f"as does POST /actions/tasks/{fid}/stop"
    )


def warn_left_open(fid: str, why: BaseException) -> None:
    """Log that a task stays open, and how to close it."""
    log.error("task %s could not be closed (%s): %s", fid, str(why) or type(why).__name__, how_to_close(fid))


_open: weakref.WeakSet[Closable] = weakref.WeakSet()


def remember(writer: Closable) -> None:
    """Log a warning about a writer at exit, unless ``forget`` is called before."""
    _open.add(writer)


def forget(writer: Closable) -> None:
    """Stop tracking a writer that was closed."""
    _open.discard(writer)


@atexit.register
def warn_of_unclosed() -> None:
    """Log every task that this program has written to and not closed."""
    for writer in list(_open):
        lost = writer.leave()
        more = f" and {lost} of its documents were not uploaded" if lost else ""
        log.error("task %s was not closed by this program%s: %s", writer.fid, more, how_to_close(writer.fid))
    _open.clear()
