"""From the words of a command line to a file that is pushed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from headwater_client.cli import access, names, parameters
from headwater_client.cli.endings import Code, Refusal
from headwater_client.cli.output import answer_json, many, size
from headwater_client.cli.pushing.beginning import begun
from headwater_client.cli.pushing.files import File
from headwater_client.cli.pushing.rows import kinds_of
from headwater_client.cli.pushing.uploading import Upload

if TYPE_CHECKING:
    from headwater_client.cli.pushing.course import Course
    from headwater_client.headwater import Headwater
    from headwater_client.objects import Crawler, External, Task

#: Seconds that the end waits for the server to have counted what the task did to the stream.
COUNTED_WITHIN = 15.0
LOOK_EVERY = 0.1


def push(
    url: str | None,
    crawler: str,
    file: File,
    params: Sequence[str],
    *,
    version: int | None,
    lenient: bool,
    anew: bool,
    only_count: bool,
    as_json: bool,
) -> None:
    """Push a file to a crawler, and tell what came of it.

    Raises:
        Refusal, HeadwaterError: it could not be done.
    """
    settled = access.access(url)
    with access.opened(settled) as headwater:
        fed = names.crawler(headwater, crawler)
        external = names.to_run(headwater, headwater.externals.get(fed.external), version)
        _prepare(file, external, fed)
        values = parameters.values(external.parameters, params)
        if only_count:
            typer.echo(_counted(file))
            return
        if file.size is not None:
            next(file.documents(), None)  # a file of another form is told before a task is begun
        beginning = begun(headwater, fed, file, values, version=version, anew=anew)
        upload = Upload(headwater, settled, file, beginning, lenient=lenient)
        task = _with_summary(headwater, upload.run())
        _tell(task, upload.course, as_json=as_json)


def _prepare(file: File, external: External, crawler: Crawler) -> None:
    if external.endpoint is not None:
        raise Refusal(
            f"crawler {crawler.name or crawler.fid} has a server, {external.endpoint}, that uploads itself: "
            f"'headwater tasks start' starts it",
            code=Code.USAGE,
        )
    file.kinds = kinds_of(external.schema)


def _counted(file: File) -> str:
    documents = total = 0
    for _, line in file.documents():
        documents += 1
        total += len(line)
    return f"{file.name}: {many(documents, 'document')}, {size(total)}"


def _with_summary(headwater: Headwater, task: Task) -> Task:
    """Return a task once it is counted what it did, or if that takes too long, without that."""
    until = time.monotonic() + COUNTED_WITHIN
    while task.summary is None and time.monotonic() < until:
        time.sleep(LOOK_EVERY)
        task = headwater.tasks.get(task)
    return task


def _tell(task: Task, course: Course, *, as_json: bool) -> None:
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
