"""``headwater tasks``."""

from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

import typer

from headwater_client.cli import options
from headwater_client.cli.options import group

app = group("Runs of crawlers: start, watch and undo them.")


class State(StrEnum):
    """Where a task stands."""

    NEW = "new"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    STOPPED = "stopped"


class Op(StrEnum):
    """What a task did to a document."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REMOVED = "removed"


class Order(StrEnum):
    """By what a list of tasks is sorted."""

    NEWEST = "-created_at"
    OLDEST = "created_at"
    STARTED = "-started_at"
    ENDED = "-ended_at"
    LONGEST = "-duration"
    SHORTEST = "duration"
    MOST_DOCS = "-docs"
    FEWEST_DOCS = "docs"


InStates = Annotated[
    list[State] | None, typer.Option("--state", help="Only those in that state; repeatable.", show_default=False)
]
StartedSince = Annotated[
    datetime | None, options.point_in_time("--since", help="Started then or later: 12h, 2026-03-01.")
]
StartedUntil = Annotated[datetime | None, options.point_in_time("--until", help="Started before then.")]
EndedSince = Annotated[datetime | None, options.point_in_time("--ended-since", help="Ended then or later.")]
Sorted = Annotated[
    Order, typer.Option("--sort", help="With -, highest first; by end and duration only those that have ended.")
]
OfCrawler = Annotated[str | None, options.of_crawler("Only those of that crawler.")]
OfStream = Annotated[str | None, options.of_stream("Only those that write to that stream.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Wait until it ends; the exit code says how.")]
OfAttempt = Annotated[
    int | None, typer.Option("--attempt", metavar="N", help="Of that attempt.", show_default="the present one")
]
WithOp = Annotated[Op | None, typer.Option("--op", help="The documents, before and after.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]
#: Maximum number of crawlers whose names are looked up for a list.
NAMED = 1000


@app.command("list")
def list_tasks(
    *,
    state: InStates = None,
    crawler: OfCrawler = None,
    stream: OfStream = None,
    since: StartedSince = None,
    until: StartedUntil = None,
    ended_since: EndedSince = None,
    sort: Sorted = Order.NEWEST,
    limit: options.Limit = 50,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """List tasks, newest first."""
    from headwater_client import resource  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli import access, lookup, output, table  # noqa: PLC0415 - likewise
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.models.objects import Task  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        found = table.first(
            headwater,
            "/tasks",
            Task,
            limit,
            state=",".join(state) if state else None,
            since=resource.moment(since),
            until=resource.moment(until),
            ended_since=resource.moment(ended_since),
            sort=None if sort is Order.NEWEST else sort.value,
            crawler=None if crawler is None else lookup.crawler(headwater, crawler).fid,
            stream=None if stream is None else lookup.stream(headwater, stream).fid,
        )
        tasks = output.first(found, limit)
        called: dict[str, Any] = {}
        if tasks.items and output.is_for_people(as_json=as_json):
            called = {each.fid: each.name for each in islice(headwater.crawlers.list(), NAMED)}
    columns: list[Column[Task]] = [
        Column("task", lambda task: task.fid, is_whole=True),
        Column("state", lambda task: "deleted" if task.removed_at else task.state, is_whole=True, is_state=True),
        Column("documents", lambda task: f"{task.docs:,}", is_number=True),
        Column(
            "took",
            lambda task: task.duration and output.span(task.duration),
            is_number=True,
            may_be_empty=True,
            is_minor=True,
        ),
        Column("age", lambda task: output.age(task.started_at), is_number=True),
        Column("crawler", lambda task: called.get(task.crawler) or task.crawler),
        Column("message", lambda task: task.message, may_be_empty=True),
    ]
    output.answer_list(tasks, columns, "tasks", as_json=as_json)


@app.command()
def show(task: options.Task, *, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """Show a task."""
    from headwater_client.cli import access, follow, lookup  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        follow.show(headwater, lookup.task(headwater, task), as_json=as_json)


@app.command()
def start(
    crawler: options.Crawler,
    *,
    param: options.Params = None,
    version: options.Version = None,
    mode: options.RunMode = None,
    scope: options.RunScope = None,
    watch: Watch = False,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Start a run of a crawler.

    Of a crawler without a server it answers, this once, where a script uploads; 'headwater push' does all of it.
    """
    from headwater_client.cli import access, follow, lookup, parameters  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        fed = lookup.crawler(headwater, crawler)
        external = lookup.to_run(headwater, headwater.externals.get(fed.external), version)
        values = parameters.values(external.parameters, param or [])
        as_what = None if mode is None else mode.value
        begun = headwater.tasks.create(fed, values, version=version, mode=as_what, scope=scope)
        follow.follow(headwater, begun, watch=watch, as_json=as_json)


@app.command()
def retry(
    task: options.Task,
    *,
    param: options.Params = None,
    version: options.Version = None,
    watch: Watch = False,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Run a task again, as its next attempt.

    What the former attempt brought is replaced when this one is done.
    """
    from headwater_client.cli import access, follow, lookup, parameters  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        former = lookup.task(headwater, task)
        external = lookup.to_run(headwater, headwater.externals.get(former.external), version)
        values = parameters.values(external.parameters, param or [])
        follow.follow(headwater, headwater.tasks.retry(former, values, version=version), watch=watch, as_json=as_json)


@app.command()
def watch(task: options.Task, *, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """Wait until a task ends, and show how it stands meanwhile.

    The exit code says how it ended.
    """
    from headwater_client.cli import access, follow, lookup  # noqa: PLC0415 - help need not wait for it

    with access.opened(access.access(url), retry_for=follow.RETRY_FOR) as headwater:
        follow.watch_to_end(headwater, lookup.task(headwater, task), as_json=as_json)


@app.command()
def stop(task: options.Task, *, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """End an open task, and keep its documents."""
    from headwater_client.cli import access, lookup, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        stopped = headwater.tasks.stop(lookup.task(headwater, task))
        if output.is_for_people(as_json=as_json):
            typer.echo(f"Task {stopped.fid} is stopped; it keeps {output.many(stopped.docs, 'document')}.")
        else:
            output.answer_json(stopped.raw)


@app.command()
def delete(
    tasks: options.Tasks,
    *,
    dry_run: DryRun = False,
    yes: options.Yes = False,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Take tasks out of their stream, as if they had not run.

    An open task is stopped. Several of one stream go together, in one version of the stream. 'restore' brings them
    back.
    """
    from headwater_client.cli import access, revert  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        revert.delete(headwater, tasks, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
def restore(
    tasks: options.Tasks, *, dry_run: DryRun = False, url: options.Url = None, as_json: options.AsJson = False
) -> None:
    """Put deleted tasks back, each at its place in the order."""
    from headwater_client.cli import access, revert  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        revert.restore(headwater, tasks, dry_run=dry_run, as_json=as_json)


class Level(StrEnum):
    """How much a line of a log matters."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


OfLevel = Annotated[
    Level | None, typer.Option("--level", "-l", help="Only lines of that level or above.", show_default=False)
]
Containing = Annotated[
    str | None, typer.Option("--containing", metavar="TEXT", help="Only lines that contain it.", show_default=False)
]
Tail = Annotated[int, typer.Option("--tail", "-n", metavar="N", help="The last lines, so many; 0 = all.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Print lines as they come, until the run is over.")]


@app.command()
def log(
    task: options.Task,
    *,
    attempt: OfAttempt = None,
    level: OfLevel = None,
    containing: Containing = None,
    tail: Tail = 100,
    follow: Follow = False,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the log of a task."""
    from headwater_client.cli import access, logs, lookup  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        logs.show(
            headwater,
            lookup.task(headwater, task),
            attempt=attempt,
            level=level,
            q=containing,
            tail=tail,
            follow=follow,
            as_json=as_json,
        )


@app.command()
def rejects(
    task: options.Task,
    *,
    attempt: OfAttempt = None,
    limit: options.Limit = 50,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """List what lenient uploads left aside of a task."""
    from headwater_client.cli import access, lookup  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli import rejects as cli_rejects  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        cli_rejects.show(headwater, lookup.task(headwater, task), attempt=attempt, limit=limit, as_json=as_json)


@app.command()
def replay(task: options.Task, *, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """Try again what lenient uploads left aside.

    What matches the External now joins the task: its published version counts, or else the newest.
    """
    from headwater_client.cli import access, lookup  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli import rejects as cli_rejects  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        cli_rejects.replay(headwater, lookup.task(headwater, task), as_json=as_json)


@app.command()
def diff(
    task: options.Task,
    *,
    op: WithOp = None,
    limit: options.Limit = 50,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Show how a task changed its stream.

    With --op the documents; when piped, each is a line of JSON.
    """
    from headwater_client.cli import access, change_lines, lookup  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        found = lookup.task(headwater, task)
        if op is None:
            change_lines.answer_counts(found, headwater.tasks.diff(found), as_json=as_json)
        else:
            change_lines.answer_differences(headwater, found, op.value, limit, as_json=as_json)


@app.command()
def publish(task: options.Task, *, url: options.Url = None, as_json: options.InJson = False) -> None:
    """Publish a task that is done and that a gate has held back."""
    from headwater_client.cli import access, lookup, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        published = headwater.tasks.publish(lookup.task(headwater, task))
        if as_json:
            output.answer_json(published.raw)
        else:
            typer.echo(f"Task {published.fid} is published, with {output.many(published.docs, 'document')}.")
