"""``headwater streams``."""

# Annotations are not put off: on Python 3.9 typer does not resolve them.

from typing import Annotated, Optional

import typer

from headwater_client.cli import words
from headwater_client.cli.endings import Refusal
from headwater_client.cli.exporting import ExportForm
from headwater_client.cli.words import group

app = group("What crawlers brought: look at it, take it along.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")]
Description = Annotated[
    Optional[str], typer.Option("--description", metavar="TEXT", help="What it is for.", show_default=False)
]
Cascade = Annotated[bool, typer.Option("--cascade", help="Its crawler too, with all tasks and documents, for good.")]
Query = Annotated[
    Optional[str],
    typer.Option("--query", "-q", metavar="WORDS", help="Only with all these words.", show_default=False),
]
Where = Annotated[
    Optional[list[str]],
    typer.Option(
        "--where",
        "-w",
        metavar="COMPARISON",
        help="Only where it holds, such as 'rating>=4'; repeatable.",
        show_default=False,
    ),
]
To = Annotated[
    Optional[str],
    typer.Option("--output", "-o", metavar="FILE", help="Where to; stdout unless given.", show_default=False),
]
Said = Annotated[
    Optional[ExportForm],
    typer.Option("--format", help="What it is written in, if the name of FILE does not tell.", show_default=False),
]


@app.command("list")
def list_streams(*, limit: words.Limit = 50, url: words.Url = None, as_json: words.AsJson = False) -> None:
    """List streams, newest first."""
    from headwater_client.cli import access, lists, output  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.objects import Stream  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        streams = output.first(lists.first(headwater, "/streams", Stream, limit), limit)
    columns: list[Column[Stream]] = [
        Column("stream", lambda stream: stream.fid, is_whole=True),
        Column("documents", lambda stream: f"{stream.docs:,}", is_number=True),
        Column("version", lambda stream: stream.stream_version, is_number=True),
        Column("latest", lambda stream: (stream.status or {}).get("state"), is_whole=True),
        Column("name", lambda stream: stream.name),
    ]
    output.answer_list(streams, columns, "streams", as_json=as_json)


@app.command()
def show(stream: words.Stream, *, url: words.Url = None, as_json: words.AsJson = False) -> None:
    """Show a stream."""
    from headwater_client.cli import access, names, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        output.answer_object(names.stream(headwater, stream).raw, as_json=as_json)


@app.command()
def create(
    name: Name, *, description: Description = None, url: words.Url = None, as_json: words.AsJson = False
) -> None:
    """Create a stream."""
    from headwater_client.cli import access, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        made = headwater.streams.create(name, meta={} if description is None else {"description": description})
        output.answer_made(made, "Stream", as_json=as_json)


@app.command()
def delete(stream: words.Stream, *, cascade: Cascade = False, yes: words.Yes = False, url: words.Url = None) -> None:
    """Delete a stream, for good."""
    from headwater_client.cli import access, asking, names, output  # noqa: PLC0415 - help need not wait for it
    from headwater_client.errors import InUse  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        found = names.stream(headwater, stream)
        named = f"stream {found.name or found.fid} with {output.many(found.docs, 'document')}"
        more = " and its crawler with all tasks" if cascade else ""
        asking.agreed(f"Nothing brings {named}{more} back. Delete it?", yes=yes)
        try:
            headwater.streams.delete(found, cascade=cascade)
        except InUse as error:
            raise Refusal(f"{str(error).partition(';')[0]}: --cascade deletes it too") from error
        typer.echo(f"Stream {found.fid} is deleted.")


@app.command()
def docs(
    stream: words.Stream,
    *,
    query: Query = None,
    where: Where = None,
    limit: words.Limit = 50,
    as_of: words.AsOf = None,
    without: words.Without = None,
    url: words.Url = None,
    as_json: words.AsJson = False,
) -> None:
    """List the documents that a stream shows, in id order.

    Elsewhere than on a terminal, each is a line of JSON.
    """
    from headwater_client.cli import access, documents, names  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        found = names.stream(headwater, stream)
        view = documents.view(headwater, as_of, without)
        documents.answer(headwater, found, limit, {**view, "q": query, "where": where}, as_json=as_json)


@app.command()
def export(
    stream: words.Stream,
    *,
    output: To = None,
    form: Said = None,
    as_of: words.AsOf = None,
    without: words.Without = None,
    url: words.Url = None,
) -> None:
    """Write all documents of a stream to a file or to stdout."""
    from headwater_client.cli import access, exporting, names  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        found = names.stream(headwater, stream)
        tasks = [names.task(headwater, ref).fid for ref in without or ()]
        exporting.export(headwater, found, output, form, as_of=as_of, without=tasks)


@app.command()
def log(stream: words.Stream, *, limit: words.Limit = 50, url: words.Url = None, as_json: words.AsJson = False) -> None:
    """List the versions of a stream, newest first, and what made them."""
    from headwater_client.answers import LogEntry  # noqa: PLC0415 - likewise
    from headwater_client.cli import access, lists, names, output  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        found = lists.first(headwater, f"/streams/{names.stream(headwater, stream).fid}/log", LogEntry, limit)
        entries = output.first(found, limit)
    columns: list[Column[LogEntry]] = [
        Column("version", lambda entry: entry.version, is_number=True),
        Column("at", lambda entry: f"{entry.at:%Y-%m-%d %H:%M}", is_whole=True),
        Column("change", lambda entry: entry.change, is_whole=True),
        Column("documents", lambda entry: f"{entry.docs:,}", is_number=True),
        Column("task", _tasks_of, is_whole=True),
    ]
    output.answer_list(entries, columns, "versions", as_json=as_json)


def _tasks_of(entry: object) -> str:
    task, tasks = getattr(entry, "task", None), getattr(entry, "tasks", None)
    return task or (f"{len(tasks)} tasks" if tasks else "")
