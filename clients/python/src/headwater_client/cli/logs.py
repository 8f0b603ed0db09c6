"""Prints the log of a task."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import typer

from headwater_client.cli import output
from headwater_client.cli.errors import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Task
    from headwater_client.models.results import LogLine


def show(
    headwater: Headwater,
    task: Task,
    *,
    attempt: int | None,
    level: str | None,
    q: str | None,
    tail: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Print the last lines of a task's log, and with ``follow`` those that come, until the attempt is over."""
    wanted: dict[str, Any] = {"attempt": attempt, "level": level, "q": q, "tail": tail or None}
    found: Iterator[LogLine] = (
        headwater.tasks.follow_log(task, **wanted) if follow else headwater.tasks.log(task, **wanted)
    )
    if not follow and tail:
        found = islice(found, tail)
    is_for_people = output.is_for_people(as_json=as_json)
    for line in found:
        typer.echo(_text(line) if is_for_people else output.json_text(line.raw))


def _text(line: LogLine) -> str:
    at = line.at.astimezone().strftime("%H:%M:%S") if line.at else ""
    more = "".join(f" {name}={value}" for name, value in line.fields.items())
    return harmless(f"{at} {line.level:<8} {line.text}{more}")
