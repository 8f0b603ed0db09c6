"""Shows a task, and follows it until it ends."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import typer

from headwater_client.cli import output
from headwater_client.cli.errors import CliError, ExitCode, harmless
from headwater_client.cli.output import age, many, size
from headwater_client.errors import NotFound

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import BegunTask, Task

#: Seconds between polls.
POLL_INTERVAL = 1.0
#: Polls after a task's end while its summary is not yet counted.
POLLS_AFTER_END = 3

#: Exit codes of ``watch``, by the task's final state.
ENDS = {"done": ExitCode.DONE, "failed": ExitCode.FAILED, "timed_out": ExitCode.TIMED_OUT, "stopped": ExitCode.GONE}


def watched(headwater: Headwater, task: Task) -> Task:
    """Wait until a task ends, showing its status on the terminal, and return it.

    Raises:
        CliError: it was deleted with its crawler.
    """
    line = _Line()
    try:
        polls = 0
        while polls < POLLS_AFTER_END:
            line.show(status_line(task))
            if not task.is_open:
                polls += 1
                if task.summary is not None or task.state == "stopped":
                    break
            time.sleep(POLL_INTERVAL)
            task = headwater.tasks.get(task)
    except NotFound as error:
        raise CliError(f"task {task.fid} is not there any more", code=ExitCode.GONE) from error
    finally:
        line.clear()
    return task


def status_line(task: Task) -> str:
    """Return a task's status as a line."""
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
    """Return how a task changed its stream, if already counted."""
    return "" if task.summary is None else ", ".join(f"{count:,} {name}" for name, count in task.summary.items())


class _Line:
    """A status line on the terminal; nothing when piped."""

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


#: Seconds for which an unreachable server is retried while waiting for a task.
RETRY_FOR = 60.0


def show(headwater: Headwater, task: Task, *, as_json: bool) -> None:
    """Print a task; on a terminal with the names of its crawler, stream and External."""
    called: dict[str, str] = {}
    if output.is_for_people(as_json=as_json):
        around = (
            headwater.crawlers.get(task.crawler),
            headwater.streams.get(task.stream),
            headwater.externals.get(task.external),
        )
        called = {each.fid: each.name or "" for each in around}
    output.answer_object(task.raw, as_json=as_json, names=called)


def follow(headwater: Headwater, task: BegunTask, *, watch: bool, as_json: bool) -> None:
    """Print a task that was just started, or wait for its end."""
    if task.already_running:
        raise CliError(
            f"task {task.fid} of this crawler is open already: 'headwater tasks watch {task.fid}' follows it",
            code=ExitCode.GONE,
        )
    if watch:
        watch_to_end(headwater, task, as_json=as_json)
        return
    raw = dict(task.raw)
    if task.upload is not None:
        raw["upload"] = {"endpoint": task.upload.endpoint, "token": task.upload.token}
    if not output.is_for_people(as_json=as_json):
        output.answer_json(raw)
        return
    typer.echo(f"Task {task.fid} is started, attempt {task.attempt}.")
    if task.upload is not None:
        typer.echo(f"Its script uploads to {task.upload.endpoint}")


def watch_to_end(headwater: Headwater, task: Task, *, as_json: bool) -> None:
    """Wait until a task ends, print it, and exit with the code for its final state.

    Raises:
        Exit: always.
    """
    ended = watched(headwater, task)
    if output.is_for_people(as_json=as_json):
        did = effect(ended)
        typer.echo(f"{ended.fid}  {status_line(ended)}" + (f": {did}" if did else ""))
    else:
        output.answer_json(ended.raw)
    raise typer.Exit(ENDS.get(ended.state, ExitCode.FAILED))
