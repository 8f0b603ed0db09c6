"""Answering tasks that were asked for, and waiting for their ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from headwater_client.cli import output, watching
from headwater_client.cli.endings import Code, Refusal

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.objects import BegunTask, Task

#: Seconds for which somebody who waits for a task's end also waits for a server that is away.
PATIENCE = 60.0


def show(headwater: Headwater, task: Task, *, as_json: bool) -> None:
    """Answer a task, on a terminal with the names of what it belongs to."""
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
    """Answer a task that was asked for, and if it is wanted, wait for its end."""
    if task.already_running:
        raise Refusal(
            f"task {task.fid} of this crawler is open already: 'headwater tasks watch {task.fid}' follows it",
            code=Code.GONE,
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
    """Wait until a task ends, answer it, and end the program by how it ended.

    Raises:
        Exit: always.
    """
    ended = watching.watched(headwater, task)
    if output.is_for_people(as_json=as_json):
        did = watching.effect(ended)
        typer.echo(f"{ended.fid}  {watching.told(ended)}" + (f": {did}" if did else ""))
    else:
        output.answer_json(ended.raw)
    raise typer.Exit(watching.ENDS.get(ended.state, Code.FAILED))
