"""``headwater tasks``."""

# Annotations are not put off: on Python 3.9 typer does not resolve them.

from enum import Enum
from itertools import islice
from typing import Annotated, Any, Optional

import typer

from headwater_client.cli import words
from headwater_client.cli.words import group

app = group("Runs of crawlers: start, watch and undo them.")


class State(str, Enum):
    """Where a task stands."""

    NEW = "new"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    STOPPED = "stopped"


InState = Annotated[Optional[State], typer.Option("--state", help="Only those in that state.", show_default=False)]
OfCrawler = Annotated[Optional[str], words.of_crawler("Only those of that crawler.")]
OfStream = Annotated[Optional[str], words.of_stream("Only those that write to that stream.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Wait until it ends; the exit code says how.")]
OfAttempt = Annotated[
    Optional[int], typer.Option("--attempt", metavar="N", help="Of that attempt.", show_default="the present one")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]
#: Crawlers whose names a list shows.
NAMED = 1000


@app.command("list")
def list_tasks(
    *,
    state: InState = None,
    crawler: OfCrawler = None,
    stream: OfStream = None,
    limit: words.Limit = 50,
    url: words.Url = None,
    as_json: words.AsJson = False,
) -> None:
    """List tasks, newest first."""
    from headwater_client.cli import access, lists, names, output  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.objects import Task  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        found = lists.first(
            headwater,
            "/tasks",
            Task,
            limit,
            state=None if state is None else state.value,
            crawler=None if crawler is None else names.crawler(headwater, crawler).fid,
            stream=None if stream is None else names.stream(headwater, stream).fid,
        )
        tasks = output.first(found, limit)
        called: dict[str, Any] = {}
        if tasks.items and output.is_for_people(as_json=as_json):
            called = {each.fid: each.name for each in islice(headwater.crawlers.list(), NAMED)}
    columns: list[Column[Task]] = [
        Column("task", lambda task: task.fid, is_whole=True),
        Column("state", lambda task: "deleted" if task.removed_at else task.state, is_whole=True),
        Column("documents", lambda task: f"{task.docs:,}", is_number=True),
        Column("age", lambda task: output.age(task.started_at), is_number=True),
        Column("crawler", lambda task: called.get(task.crawler) or task.crawler),
        Column("message", lambda task: task.message, may_be_empty=True),
    ]
    output.answer_list(tasks, columns, "tasks", as_json=as_json)


@app.command()
def show(task: words.Task, *, url: words.Url = None, as_json: words.AsJson = False) -> None:
    """Show a task."""
    from headwater_client.cli import access, names, running  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        running.show(headwater, names.task(headwater, task), as_json=as_json)


@app.command()
def start(
    crawler: words.Crawler,
    *,
    param: words.Params = None,
    version: words.Version = None,
    watch: Watch = False,
    url: words.Url = None,
    as_json: words.AsJson = False,
) -> None:
    """Start a run of a crawler.

    Of a crawler without a server it answers, this once, where a script uploads; 'headwater push' does all of it.
    """
    from headwater_client.cli import access, names, parameters, running  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        fed = names.crawler(headwater, crawler)
        external = names.to_run(headwater, headwater.externals.get(fed.external), version)
        values = parameters.values(external.parameters, param or [])
        running.follow(headwater, headwater.tasks.create(fed, values, version=version), watch=watch, as_json=as_json)


@app.command()
def retry(
    task: words.Task,
    *,
    param: words.Params = None,
    version: words.Version = None,
    watch: Watch = False,
    url: words.Url = None,
    as_json: words.AsJson = False,
) -> None:
    """Run a task again, as its next attempt.

    What the former attempt brought is replaced when this one is done.
    """
    from headwater_client.cli import access, names, parameters, running  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        former = names.task(headwater, task)
        external = names.to_run(headwater, headwater.externals.get(former.external), version)
        values = parameters.values(external.parameters, param or [])
        running.follow(headwater, headwater.tasks.retry(former, values, version=version), watch=watch, as_json=as_json)


@app.command()
def watch(task: words.Task, *, url: words.Url = None, as_json: words.AsJson = False) -> None:
    """Wait until a task ends, and show how it stands meanwhile.

    The exit code says how it ended.
    """
    from headwater_client.cli import access, names, running  # noqa: PLC0415 - help need not wait for it

    with access.opened(access.access(url), patience=running.PATIENCE) as headwater:
        running.watch_to_end(headwater, names.task(headwater, task), as_json=as_json)


@app.command()
def stop(task: words.Task, *, url: words.Url = None, as_json: words.AsJson = False) -> None:
    """End an open task, and keep its documents."""
    from headwater_client.cli import access, names, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        stopped = headwater.tasks.stop(names.task(headwater, task))
        if output.is_for_people(as_json=as_json):
            typer.echo(f"Task {stopped.fid} is stopped; it keeps {output.many(stopped.docs, 'document')}.")
        else:
            output.answer_json(stopped.raw)


@app.command()
def delete(
    tasks: words.Tasks,
    *,
    dry_run: DryRun = False,
    yes: words.Yes = False,
    url: words.Url = None,
    as_json: words.AsJson = False,
) -> None:
    """Take tasks out of their stream, as if they had not run.

    An open task is stopped. Several of one stream go together, in one version of the stream. 'restore' brings them
    back.
    """
    from headwater_client.cli import access, undoing  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        undoing.delete(headwater, tasks, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
def restore(
    tasks: words.Tasks, *, dry_run: DryRun = False, url: words.Url = None, as_json: words.AsJson = False
) -> None:
    """Put deleted tasks back, each at its place in the order."""
    from headwater_client.cli import access, undoing  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        undoing.restore(headwater, tasks, dry_run=dry_run, as_json=as_json)


@app.command()
def rejects(
    task: words.Task,
    *,
    attempt: OfAttempt = None,
    limit: words.Limit = 50,
    url: words.Url = None,
    as_json: words.AsJson = False,
) -> None:
    """List what lenient uploads left aside of a task."""
    from headwater_client.cli import access, names, rejected  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        rejected.show(headwater, names.task(headwater, task), attempt=attempt, limit=limit, as_json=as_json)


@app.command()
def replay(task: words.Task, *, url: words.Url = None, as_json: words.AsJson = False) -> None:
    """Try again what lenient uploads left aside.

    What matches the External now joins the task: its published version counts, or else the newest.
    """
    from headwater_client.cli import access, names, rejected  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        rejected.replay(headwater, names.task(headwater, task), as_json=as_json)
