"""``headwater streams``: the commands that change a stream, or show how it changed."""

# ruff: noqa: PLC0415 - commands import what they need, so that help need not wait for it

from typing import Annotated

import typer

from headwater_client.cli import completion, options
from headwater_client.cli.options import group

app = group("Changes of streams.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")]
DocId = Annotated[str, typer.Argument(metavar="ID", help="The id of a document.")]
Behind = Annotated[int, typer.Option("--since", metavar="VERSION", min=0, help="After that version of the stream.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Wait for more, until Ctrl-C.")]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="MOMENT",
        help="That began then or later: 2026-03-01T00:00Z, or 2h for two hours ago.",
        show_default=False,
    ),
]
Until = Annotated[str | None, typer.Option("--until", metavar="MOMENT", help="That began before.", show_default=False)]
WithVersion = Annotated[
    int | None,
    typer.Option("--external-version", metavar="N", min=1, help="That ran with it.", show_default=False),
]
Origin = Annotated[
    str | None,
    typer.Option("--origin", metavar="NAME", help="That were started by it, such as schedule.", show_default=False),
]
Params = Annotated[list[str] | None, options.param("That ran with that value of a parameter; repeatable.")]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="TASK",
        help="That are one of these; repeatable.",
        show_default=False,
        autocompletion=completion.tasks,
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        "-w",
        metavar="COMPARISON",
        help="Documents of which it holds, such as 'price<0'; repeatable.",
        show_default=False,
    ),
]
Query = Annotated[
    str | None,
    typer.Option("--query", "-q", metavar="WORDS", help="Documents with all these words.", show_default=False),
]
OfId = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="Only the document with this id.", show_default=False)
]
OnlySince = Annotated[
    int | None,
    typer.Option("--since", metavar="VERSION", min=0, help="After that version of the stream.", show_default=False),
]
AtVersion = Annotated[
    int | None,
    typer.Option(
        "--stream-version", metavar="N", min=1, help="Deleted in that version of the stream.", show_default=False
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]


@app.command()
def rename(stream: options.Stream, name: Name, *, url: options.Url = None, as_json: options.InJson = False) -> None:
    """Give a stream another name."""
    from headwater_client.cli import access, edits, lookup

    with access.connected(url) as headwater:
        fields = {"meta": {"name": name}}
        changed = headwater.streams.update(lookup.stream(headwater, stream), fields)
        edits.answer(changed, "Stream", {"name": name}, as_json=as_json)


@app.command()
def changes(
    stream: options.Stream,
    *,
    since: Behind = 0,
    follow: Follow = False,
    limit: options.Limit = 0,
    as_of: options.AsOf = None,
    without: options.Without = None,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what changed since a version, document by document.

    When piped, each change is a line of JSON, and {"version": N} tells that all changes up to N are complete.
    """
    from headwater_client.cli import access, change_lines, lookup
    from headwater_client.cli import follow as cli_follow

    with access.opened(access.access(url), retry_for=cli_follow.RETRY_FOR) as headwater:
        tasks = [lookup.task(headwater, ref) for ref in without or ()]
        found = headwater.streams.changes(
            lookup.stream(headwater, stream), since=since, follow=follow, as_of=as_of, without=tasks
        )
        change_lines.answer(found, limit=limit, as_json=as_json)


@app.command()
def history(
    stream: options.Stream,
    doc_id: DocId,
    *,
    limit: options.Limit = 50,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """List the versions of a document, newest first."""
    from headwater_client.cli import access, change_lines, lookup

    with access.connected(url) as headwater:
        change_lines.answer_history(
            headwater.streams.history(lookup.stream(headwater, stream), doc_id), limit, as_json=as_json
        )


@app.command()
def bisect(
    stream: options.Stream,
    *,
    where: Where = None,
    query: Query = None,
    doc_id: OfId = None,
    since: OnlySince = None,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Find the runs that brought documents that match.

    And those that removed them. 'revert --task' takes those out that are to blame.
    """
    from headwater_client.cli import access, change_lines, lookup
    from headwater_client.cli.errors import CliError, ExitCode

    if not (where or query or doc_id is not None):
        raise CliError("say which documents are wrong: --where, --query, --id", code=ExitCode.USAGE)

    with access.connected(url) as headwater:
        found = lookup.stream(headwater, stream)
        bisected = headwater.streams.bisect(found, where=where, q=query, doc_id=doc_id, since=since)
        change_lines.answer_bisected(found, bisected, as_json=as_json)


@app.command()
def revert(
    stream: options.Stream,
    *,
    since: Since = None,
    until: Until = None,
    external_version: WithVersion = None,
    origin: Origin = None,
    param: Params = None,
    task: Tasks = None,
    dry_run: DryRun = False,
    yes: options.Yes = False,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Take all tasks out of a stream to which every option applies.

    They go together, in one version of the stream; 'restore' brings them back.
    """
    from headwater_client.cli import access, bulk, lookup

    with access.connected(url) as headwater:
        found = lookup.stream(headwater, stream)
        wanted = bulk.wanted(
            headwater,
            found,
            since=since,
            until=until,
            external_version=external_version,
            origin=origin,
            param=param,
            task=task,
        )
        bulk.revert(headwater, found, wanted, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
def restore(
    stream: options.Stream,
    *,
    since: Since = None,
    until: Until = None,
    external_version: WithVersion = None,
    origin: Origin = None,
    param: Params = None,
    stream_version: AtVersion = None,
    dry_run: DryRun = False,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Put all deleted tasks back to which every option applies."""
    from headwater_client.cli import access, bulk, lookup

    with access.connected(url) as headwater:
        found = lookup.stream(headwater, stream)
        wanted = bulk.wanted(
            headwater,
            found,
            since=since,
            until=until,
            external_version=external_version,
            origin=origin,
            param=param,
            stream_version=stream_version,
        )
        bulk.restore(headwater, found, wanted, dry_run=dry_run, as_json=as_json)


@app.command()
def erase(
    stream: options.Stream,
    doc_id: DocId,
    *,
    yes: options.Yes = False,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Erase a document in all its versions, for good; needs an admin key."""
    from headwater_client.cli import access, bulk, lookup

    with access.connected(url) as headwater:
        bulk.erase(headwater, lookup.stream(headwater, stream), doc_id, yes=yes, as_json=as_json)
