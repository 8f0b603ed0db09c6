"""Watching a task until it ends."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from headwater_client.cli.endings import Code, Refusal, harmless
from headwater_client.cli.output import age, many, size
from headwater_client.errors import NotFound

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.objects import Task

#: Seconds between two looks.
EVERY = 1.0
#: Looks after its end at which it may not be counted yet what a task did.
AFTER_END = 3

#: What ``watch`` ends with, by the state in which the task does.
ENDS = {"done": Code.DONE, "failed": Code.FAILED, "timed_out": Code.TIMED_OUT, "stopped": Code.GONE}


def watched(headwater: Headwater, task: Task) -> Task:
    """Return a task when it has ended; until then a line on the terminal tells how it stands.

    Raises:
        Refusal: it was deleted with its crawler.
    """
    line = _Line()
    try:
        looks = 0
        while looks < AFTER_END:
            line.show(told(task))
            if not task.is_open:
                looks += 1
                if task.summary is not None or task.state == "stopped":
                    break
            time.sleep(EVERY)
            task = headwater.tasks.get(task)
    except NotFound as error:
        raise Refusal(f"task {task.fid} is not there any more", code=Code.GONE) from error
    finally:
        line.clear()
    return task


def told(task: Task) -> str:
    """Return how a task stands, in a line."""
    parts = [task.state, many(task.docs, "document"), size(task.bytes)]
    if task.rejected:
        parts.append(f"{task.rejected:,} kept aside")
    if task.is_open:
        parts.append(f"heard {age(task.heard_at)} ago" if task.heard_at else "nothing heard yet")
    if task.removed_at is not None:
        parts.append("deleted")
    if task.message:
        parts.append(task.message)
    return "  ".join(parts)


def effect(task: Task) -> str:
    """Return what a task did to its stream, if it is counted."""
    return "" if task.summary is None else ", ".join(f"{count:,} {name}" for name, count in task.summary.items())


class _Line:
    """A line on the terminal that is written anew; nothing where there is no terminal."""

    def __init__(self) -> None:
        self._is_shown = False

    def show(self, text: str) -> None:
        if not sys.stderr.isatty():
            return
        from shutil import get_terminal_size  # noqa: PLC0415 - most uses have no line

        self.clear()
        sys.stderr.write(harmless(text)[: get_terminal_size().columns - 1])
        sys.stderr.flush()
        self._is_shown = True

    def clear(self) -> None:
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._is_shown = False
