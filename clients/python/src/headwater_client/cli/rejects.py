"""Lists and replays a task's rejected lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from headwater_client.cli import output
from headwater_client.cli.output import Column

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Task
    from headwater_client.models.results import Reject


def show(headwater: Headwater, task: Task, *, attempt: int | None, limit: int, as_json: bool) -> None:
    """List the rejected lines of a task's current attempt, or of another."""
    found = output.first(headwater.tasks.rejects(task, attempt=attempt), limit)
    columns: list[Column[Reject]] = [
        Column("upload", lambda reject: reject.upload, is_number=True),
        Column("line", lambda reject: reject.line, is_number=True),
        Column("id", lambda reject: reject.id, may_be_empty=True),
        Column("error", _error_text),
        Column("text", lambda reject: reject.text if reject.text is not None else reject.base64),
    ]
    output.answer_list(found, columns, "rejected lines", as_json=as_json)


def replay(headwater: Headwater, task: Task, *, as_json: bool) -> None:
    """Replay a task's rejected lines, and print the result."""
    done = headwater.tasks.replay(task)
    if not output.is_for_people(as_json=as_json):
        output.answer_json(done.raw)
        return
    covered = f", {done.covered:,} of which newer versions are there" if done.covered else ""
    typer.echo(
        f"Task {task.fid}: {output.many(done.replayed, 'line')} replayed{covered}, {done.rejected:,} still rejected."
    )


def _error_text(reject: Reject) -> str:
    error: Mapping[str, Any] = reject.errors[0] if reject.errors else {}
    return ": ".join(filter(None, [error.get("pointer"), error.get("detail")]))
