"""Prints the changes of a stream, the versions of a document, and the differences that a task made."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

import typer

from headwater_client.cli import output
from headwater_client.cli.errors import harmless
from headwater_client.cli.output import Column

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Stream, Task
    from headwater_client.models.results import Bisected, Change, Counts, Difference, DocumentVersion, MatchChange

#: Maximum characters of a document in a line; longer than any terminal line.
SHOWN = 400


def answer(changes: Iterable[Change], *, limit: int, as_json: bool) -> None:
    """Print each change as it arrives: human-readable, or as JSON."""
    people = output.is_for_people(as_json=as_json)
    for change in islice(changes, limit if limit > 0 else None):
        typer.echo(_line(change) if people else output.json_text(_record(change)))


def _record(change: Change) -> dict[str, Any]:
    if change.op == "version":
        return {"version": change.version}
    return {name: value for name, value in asdict(change).items() if name != "version"}


def _line(change: Change) -> str:
    if change.op == "version":
        return f"version  {change.version}"
    return harmless(f"{change.op:<7}  {change.id}  {_text(change.doc)}".rstrip())


def _text(document: Any) -> str:
    return "" if document is None else json.dumps(document, ensure_ascii=False)[:SHOWN]


def answer_history(versions: Iterable[DocumentVersion], limit: int, *, as_json: bool) -> None:
    """Print the first versions of a document."""
    columns: list[Column[DocumentVersion]] = [
        Column("written", lambda each: f"{each.written_at:%Y-%m-%d %H:%M}", is_whole=True),
        Column("task", lambda each: each.task, is_whole=True),
        Column("standing", lambda each: each.standing, is_whole=True, is_state=True),
        Column("document", lambda each: _text(each.doc)),
    ]
    output.answer_list(output.first(versions, limit), columns, "versions", as_json=as_json)


def answer_bisected(stream: Stream, found: Bisected, *, as_json: bool) -> None:
    """Print which runs brought documents that match, and how to see what undoing them would change."""
    if not output.is_for_people(as_json=as_json):
        output.answer_json(found.raw)
        return
    columns: list[Column[MatchChange]] = [
        Column("at", lambda each: f"{each.at:%Y-%m-%d %H:%M}", is_whole=True, is_minor=True),
        Column("version", lambda each: each.version, is_number=True),
        Column("change", lambda each: each.change, is_whole=True),
        Column("task", output.tasks_of, is_whole=True),
        Column("brought", lambda each: f"+{each.brought:,}", is_number=True),
        Column("removed", lambda each: f"-{each.removed:,}", is_number=True),
    ]
    if found.before:
        typer.echo(
            f"{output.many(found.before, 'document')} matched already at version {found.since}, the oldest kept."
        )
    runs = found.runs
    output.answer_list(output.Some(runs, has_more=False), columns, "runs that brought such documents", as_json=False)
    if found.more:
        typer.echo(f"There are more: --since {runs[-1].until}", err=True)
    typer.echo(f"{output.many(found.docs, 'document')} {'matches' if found.docs == 1 else 'match'} now.")
    if found.to_undo:
        tasks = " ".join(f"--task {task}" for task in found.to_undo)
        typer.echo(f"What undoing would change: headwater streams revert {stream.fid} {tasks} --dry-run")


def answer_counts(task: Task, counts: Counts, *, as_json: bool) -> None:
    """Print how many documents a task changed."""
    if not output.is_for_people(as_json=as_json):
        output.answer_json(counts.raw)
        return
    names = ("added", "changed", "unchanged", "removed")
    typer.echo(f"Task {task.fid}: {', '.join(f'{getattr(counts, name):,} {name}' for name in names)}.")


def answer_differences(headwater: Headwater, task: Task, op: str, limit: int, *, as_json: bool) -> None:
    """Print the documents that a task changed: before and after, or as lines of JSON."""
    found: Iterable[Difference] = headwater.tasks.differences(task, op)
    people = output.is_for_people(as_json=as_json)
    for each in islice(found, limit if limit > 0 else None):
        if not people:
            typer.echo(output.json_text(each.raw))
            continue
        typer.echo(harmless(each.id))
        for sign, side in (("-", each.before), ("+", each.after)):
            if side is not None:
                typer.echo(harmless(f"  {sign} {_text(side['doc'])}"))
