"""Deletes and restores tasks of a stream by a filter, and erases documents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

from headwater_client.cli import durations, lookup, output, parameters, prompts
from headwater_client.cli.errors import CliError, ExitCode, harmless
from headwater_client.cli.output import many
from headwater_client.cli.revert import counts_of, print_counts
from headwater_client.requests import given

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Stream
    from headwater_client.models.results import Moved

_AGO = re.compile(r"\d+[smhdw]", re.IGNORECASE)


def wanted(
    headwater: Headwater,
    stream: Stream,
    *,
    since: str | None,
    until: str | None,
    param: Sequence[str] | None,
    task: Sequence[str] | None = None,
    **equal: Any,
) -> dict[str, Any]:
    """Return the filter of the options.

    Raises:
        CliError: there is none, so all tasks would match; or a value is invalid.
    """
    params = _params(headwater, stream, param) if param else None
    tasks = [lookup.task(headwater, ref).fid for ref in task] if task else None
    found = given(tasks=tasks, since=moment(since, "--since"), until=moment(until, "--until"), params=params, **equal)
    if not found:
        raise CliError(
            "say which tasks: --since, --until, --external-version, --origin, --param, --task", code=ExitCode.USAGE
        )
    return found


def moment(text: str | None, option: str) -> str | None:
    """Return a moment, or a time ago, as RFC 3339.

    Raises:
        CliError: it is neither.
    """
    if text is None:
        return None
    if _AGO.fullmatch(text.strip()):
        return (datetime.now(UTC) - timedelta(seconds=durations.seconds(text, option))).isoformat()
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError:
        hint = "expected one like 2026-03-01T00:00Z, or 2h for two hours ago"
        raise CliError(f"{option} {text!r} is no moment: {hint}", code=ExitCode.USAGE) from None


def _params(headwater: Headwater, stream: Stream, param: Sequence[str]) -> dict[str, Any]:
    crawler = next(iter(headwater.crawlers.list(stream=stream)), None)
    if crawler is None:
        raise CliError(f"stream {stream.name or stream.fid} has no crawler, and so no --param")
    return parameters.values(headwater.externals.get(crawler.external).parameters, param)


def revert(
    headwater: Headwater, stream: Stream, filter_: Mapping[str, Any], *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Delete the tasks that match, after a preview and a confirmation.

    Raises:
        CliError: it was not confirmed.
    """
    if dry_run or not yes:
        preview = headwater.streams.preview_revert(stream, **filter_)
        if dry_run and not output.is_for_people(as_json=as_json):
            output.answer_json(preview.raw)
            return
        print_counts(f"{many(len(preview.tasks or ()), 'task')} of stream", stream, counts_of(preview), err=not dry_run)
        if dry_run:
            return
        prompts.agreed("Take them out of the stream?", yes=yes)
    moved = headwater.streams.revert(stream, **filter_)
    _answer(stream, moved, "deleted", as_json=as_json)
    if output.is_for_people(as_json=as_json) and moved.stream_version is not None:
        typer.echo(f"Back again: headwater streams restore {stream.fid} --stream-version {moved.stream_version}")


def restore(headwater: Headwater, stream: Stream, filter_: Mapping[str, Any], *, dry_run: bool, as_json: bool) -> None:
    """Restore the tasks that match."""
    if not dry_run:
        _answer(stream, headwater.streams.restore(stream, **filter_), "back", as_json=as_json)
        return
    preview = headwater.streams.preview_restore(stream, **filter_)
    if output.is_for_people(as_json=as_json):
        print_counts(f"{many(len(preview.tasks or ()), 'task')} of stream", stream, counts_of(preview), err=False)
    else:
        output.answer_json(preview.raw)


def _answer(stream: Stream, moved: Moved, what: str, *, as_json: bool) -> None:
    if not output.is_for_people(as_json=as_json):
        output.answer_json(moved.raw)
        return
    name = harmless(stream.name or stream.fid)
    are = "is" if len(moved.tasks) == 1 else "are"
    version = "" if moved.stream_version is None else f", which is now at version {moved.stream_version}"
    typer.echo(f"{many(len(moved.tasks), 'task')} of stream {name} {are} {what}{version}.")
    if moved.purged:
        typer.echo(f"{many(len(moved.purged), 'task')} cannot be restored: {', '.join(moved.purged)}")


def erase(headwater: Headwater, stream: Stream, doc_id: str, *, yes: bool, as_json: bool) -> None:
    """Erase a document, after a confirmation.

    Raises:
        CliError: it was not confirmed.
    """
    named = f"document {doc_id!r} of stream {stream.name or stream.fid}"
    prompts.agreed(harmless(f"Nothing brings {named} back, in any version. Erase it?"), yes=yes)
    erased = headwater.streams.erase(stream, doc_id)
    if as_json:
        output.answer_json(erased.raw)
        return
    rejects = f" and {many(erased.rejects, 'rejected line')}" if erased.rejects else ""
    typer.echo(f"Erased {many(erased.docs, 'version')}{rejects} of {harmless(named)}.")
