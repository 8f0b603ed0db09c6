"""Deletes and restores tasks, with a preview of the effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from headwater_client.cli import lookup, output
from headwater_client.cli.errors import harmless
from headwater_client.cli.output import many
from headwater_client.cli.prompts import agreed

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Record, Stream, Task

DELETED = "deleted"
#: Descriptions of the counts of a dry run.
_MEANINGS = {
    "removed": "would be gone",
    "restored": "would show an older version",
    "added": "would show again",
    "replaced": "would show this version instead of an older one",
    "unaffected": "would stay as they are, under newer ones",
}


def delete(headwater: Headwater, refs: Sequence[str], *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete tasks, after a preview and a confirmation.

    Raises:
        CliError: it was not confirmed.
        HeadwaterError: it cannot be done.
    """
    chosen = _by_stream(headwater, refs)
    for_people = output.is_for_people(as_json=as_json)
    if dry_run or not yes:
        previews = {stream: _preview_deletion(headwater, stream, tasks) for stream, tasks in chosen.items()}
        if dry_run:
            _answer_previews(headwater, chosen, previews, for_people=for_people)
            return
        _print_previews(headwater, chosen, previews, err=True)
        agreed("Take them out of the stream?", yes=yes)
    done = [_delete(headwater, stream, tasks) for stream, tasks in chosen.items()]
    _answer_done(headwater, chosen, done, DELETED, for_people=for_people)


def restore(headwater: Headwater, refs: Sequence[str], *, dry_run: bool, as_json: bool) -> None:
    """Restore tasks.

    Raises:
        HeadwaterError: it cannot be done.
    """
    chosen = _by_stream(headwater, refs)
    for_people = output.is_for_people(as_json=as_json)
    if dry_run:
        previews = {stream: _preview_restoration(headwater, stream, tasks) for stream, tasks in chosen.items()}
        _answer_previews(headwater, chosen, previews, for_people=for_people)
        return
    done = [_restore(headwater, stream, tasks) for stream, tasks in chosen.items()]
    _answer_done(headwater, chosen, done, "back", for_people=for_people)


Chosen = Mapping[str, Sequence["Task"]]


def _by_stream(headwater: Headwater, refs: Sequence[str]) -> Chosen:
    chosen: dict[str, list[Task]] = {}
    for ref in refs:
        task = lookup.task(headwater, ref)
        tasks = chosen.setdefault(task.stream, [])
        if task.fid not in {each.fid for each in tasks}:
            tasks.append(task)
    return chosen


def _preview_deletion(headwater: Headwater, stream: str, tasks: Sequence[Task]) -> Record:
    if len(tasks) == 1:
        return headwater.tasks.preview_delete(tasks[0])
    return headwater.streams.preview_revert(stream, tasks=tasks)


def _preview_restoration(headwater: Headwater, stream: str, tasks: Sequence[Task]) -> Record:
    if len(tasks) == 1:
        return headwater.tasks.preview_restore(tasks[0])
    return headwater.streams.preview_restore(stream, tasks=tasks)


def _delete(headwater: Headwater, stream: str, tasks: Sequence[Task]) -> Record:
    if len(tasks) == 1:
        return headwater.tasks.delete(tasks[0])
    return headwater.streams.revert(stream, tasks=tasks)


def _restore(headwater: Headwater, stream: str, tasks: Sequence[Task]) -> Record:
    if len(tasks) == 1:
        return headwater.tasks.restore(tasks[0])
    return headwater.streams.restore(stream, tasks=tasks)


def _answer_previews(headwater: Headwater, chosen: Chosen, previews: Mapping[str, Record], *, for_people: bool) -> None:
    if for_people:
        _print_previews(headwater, chosen, previews, err=False)
        return
    previews_by_stream = [
        {"stream": stream, "tasks": [task.fid for task in chosen[stream]], **counts_of(preview)}
        for stream, preview in previews.items()
    ]
    output.answer_json(previews_by_stream[0] if len(previews_by_stream) == 1 else previews_by_stream)


def _print_previews(headwater: Headwater, chosen: Chosen, previews: Mapping[str, Record], *, err: bool) -> None:
    for fid, preview in previews.items():
        what = f"{many(len(chosen[fid]), 'task')} of stream"
        print_counts(what, headwater.streams.get(fid), counts_of(preview), err=err)


def print_counts(what: str, stream: Stream, counts: Mapping[str, int], *, err: bool) -> None:
    """Print the counts of a dry run."""
    typer.echo(harmless(f"{what} {stream.name or stream.fid}:"), err=err)
    for name, count in counts.items():
        typer.echo(f"  {count:>9,} {'document' if count == 1 else 'documents'} {_MEANINGS[name]}", err=err)


def counts_of(preview: Record) -> dict[str, int]:
    """Return the counts of a dry run, by name."""
    return {name: preview.raw[name] for name in _MEANINGS if name in preview.raw}


def _answer_done(headwater: Headwater, chosen: Chosen, done: Sequence[Record], what: str, *, for_people: bool) -> None:
    if not for_people:
        raws: list[Any] = [each.raw for each in done]
        output.answer_json(raws[0] if len(raws) == 1 else raws)
        return
    for fid, tasks in chosen.items():
        stream = headwater.streams.get(fid)
        which = f"Task {tasks[0].fid} is" if len(tasks) == 1 else f"{many(len(tasks), 'task')} are"
        typer.echo(f"{which} {what}. Stream {stream.name or fid} is at version {stream.stream_version}.")
    if what == DELETED:
        fids = " ".join(task.fid for tasks in chosen.values() for task in tasks)
        typer.echo(f"Back again: headwater tasks restore {fids}")
