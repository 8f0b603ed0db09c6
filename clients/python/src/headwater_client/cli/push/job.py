"""Runs ``headwater push``: prepares the file, starts the task, uploads, prints the result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from headwater_client.cli import access, lookup, parameters
from headwater_client.cli.errors import CliError, ExitCode, complain
from headwater_client.cli.output import answer_json, many, size
from headwater_client.cli.push.closing import closed_on_failure
from headwater_client.cli.push.column_types import columns_of
from headwater_client.cli.push.files import File
from headwater_client.cli.push.start import begun
from headwater_client.cli.push.upload import Upload

if TYPE_CHECKING:
    from headwater_client.cli.push.progress import Progress
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Crawler, External, Task

#: Maximum seconds to wait for the task's summary, and seconds between polls.
COUNTED_WITHIN = 15.0
POLL_INTERVAL = 0.1


def push(
    url: str | None,
    crawler: str,
    file: File,
    params: Sequence[str],
    *,
    version: int | None,
    mode: str | None,
    scope: Sequence[str] | None,
    lenient: bool,
    anew: bool,
    only_count: bool,
    as_json: bool,
) -> None:
    """Push a file to a crawler, and print the result.

    Raises:
        CliError, HeadwaterError: it failed.
    """
    settled = access.access(url)
    with access.opened(settled) as headwater:
        fed = lookup.crawler(headwater, crawler)
        external = lookup.to_run(headwater, headwater.externals.get(fed.external), version)
        _prepare(file, external, fed)
        file.is_lenient = lenient
        values = parameters.values(external.parameters, params)
        if only_count:
            typer.echo(_counted(file))
            if file.hint:
                complain(file.hint)
            return
        if file.size is not None:
            next(file.documents(), None)  # detects a wrong format before a task is started
        beginning = begun(headwater, fed, file, values, version=version, mode=mode, scope=scope, anew=anew)
        with closed_on_failure(headwater, beginning.task.fid):
            upload = Upload(headwater, settled, file, beginning, lenient=lenient)
        task = _with_summary(headwater, upload.run())
        if file.hint:
            complain(file.hint)
        _answer(task, upload.course, as_json=as_json)


def _prepare(file: File, external: External, crawler: Crawler) -> None:
    if external.endpoint is not None:
        raise CliError(
            f"crawler {crawler.name or crawler.fid} has a server, {external.endpoint}, that uploads itself: "
            f"'headwater tasks start' starts it",
            code=ExitCode.USAGE,
        )
    file.columns = columns_of(external.schema)


def _counted(file: File) -> str:
    documents = total = 0
    for _, line in file.documents():
        documents += 1
        total += len(line)
    return f"{file.name}: {many(documents, 'document')}, {size(total)}"


def _with_summary(headwater: Headwater, task: Task) -> Task:
    """Return a task with its summary, or without it if that takes too long."""
    until = time.monotonic() + COUNTED_WITHIN
    while task.summary is None and time.monotonic() < until:
        time.sleep(POLL_INTERVAL)
        task = headwater.tasks.get(task)
    return task


def _answer(task: Task, course: Progress, *, as_json: bool) -> None:
    if as_json:
        answer_json(task.raw)
        return
    begin = f", {course.before:,} of them before" if course.before else ""
    did: Any = task.summary
    effect = "" if did is None else ": " + ", ".join(f"{did[name]:,} {name}" for name in did)
    typer.echo(
        f"{course.file.name}: {many(course.documents, 'document')}{begin}, {size(course.bytes)} "
        f"in {course.seconds:.1f} s; task {task.fid}{effect}"
    )
    if task.rejected:
        was = "was" if task.rejected == 1 else "were"
        typer.echo(f"{many(task.rejected, 'document')} {was} rejected: 'headwater tasks rejects {task.fid}' shows them")
