"""``headwater streams``."""

from typing import Annotated

import typer

from headwater_client.cli import options, stream_changes
from headwater_client.cli.errors import CliError
from headwater_client.cli.export import ExportColumns, ExportFormat
from headwater_client.cli.options import group

app = group("Browse and export streams.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")]
Description = Annotated[
    str | None, typer.Option("--description", metavar="TEXT", help="What it is for.", show_default=False)
]
Cascade = Annotated[bool, typer.Option("--cascade", help="Its crawler too, with all tasks and documents, for good.")]
Query = Annotated[
    str | None,
    typer.Option("--query", "-q", metavar="WORDS", help="Only with all these words.", show_default=False),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        "-w",
        metavar="COMPARISON",
        help="Only where it holds, such as 'rating>=4'; repeatable.",
        show_default=False,
    ),
]
To = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Where to; stdout unless given.", show_default=False),
]
Said = Annotated[
    ExportFormat | None,
    typer.Option("--format", help="What it is written in, if the name of FILE does not tell.", show_default=False),
]

Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--fields",
        metavar="NAMES",
        help="Only these fields, in this order, such as 'id,price'; repeatable.",
        show_default=False,
    ),
]
Infer = Annotated[
    ExportColumns | None,
    typer.Option("--columns", help="Of Parquet: infer makes a typed column of each field.", show_default=False),
]
NoDocument = Annotated[bool, typer.Option("--no-document", help="Of Parquet: no column with the document's text.")]
Defuse = Annotated[
    bool, typer.Option("--defuse", help="Of CSV: an apostrophe before what a spreadsheet takes for a formula.")
]
Mark = Annotated[bool, typer.Option("--bom", help="Of CSV: a byte-order mark, by which Excel knows UTF-8.")]


@app.command("list")
def list_streams(*, limit: options.Limit = 50, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """List streams, newest first."""
    from headwater_client.cli import access, output, table  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.models.objects import Stream  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        streams = output.first(table.first(headwater, "/streams", Stream, limit), limit)
    columns: list[Column[Stream]] = [
        Column("stream", lambda stream: stream.fid, is_whole=True),
        Column("documents", lambda stream: f"{stream.docs:,}", is_number=True),
        Column("version", lambda stream: stream.stream_version, is_number=True),
        Column("latest", lambda stream: (stream.status or {}).get("state"), is_whole=True, is_state=True),
        Column("name", lambda stream: stream.name),
    ]
    output.answer_list(streams, columns, "streams", as_json=as_json)


@app.command()
def show(stream: options.Stream, *, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """Show a stream."""
    from headwater_client.cli import access, lookup, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        output.answer_object(lookup.stream(headwater, stream).raw, as_json=as_json)


@app.command()
def create(
    name: Name, *, description: Description = None, url: options.Url = None, as_json: options.AsJson = False
) -> None:
    """Create a stream."""
    from headwater_client.cli import access, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        made = headwater.streams.create(name, meta={} if description is None else {"description": description})
        output.answer_made(made, "Stream", as_json=as_json)


@app.command()
def delete(
    stream: options.Stream, *, cascade: Cascade = False, yes: options.Yes = False, url: options.Url = None
) -> None:
    """Delete a stream, for good."""
    from headwater_client.cli import access, lookup, output, prompts  # noqa: PLC0415 - help need not wait for it
    from headwater_client.errors import InUse  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        found = lookup.stream(headwater, stream)
        named = f"stream {found.name or found.fid} with {output.many(found.docs, 'document')}"
        more = " and its crawler with all tasks" if cascade else ""
        prompts.agreed(f"Nothing brings {named}{more} back. Delete it?", yes=yes)
        try:
            headwater.streams.delete(found, cascade=cascade)
        except InUse as error:
            raise CliError(f"{str(error).partition(';')[0]}: --cascade deletes it too") from error
        typer.echo(f"Stream {found.fid} is deleted.")


@app.command()
def docs(
    stream: options.Stream,
    *,
    query: Query = None,
    where: Where = None,
    limit: options.Limit = 50,
    as_of: options.AsOf = None,
    without: options.Without = None,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """List the documents that a stream shows, in id order.

    When piped, each is a line of JSON.
    """
    from headwater_client.cli import access, documents, lookup  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        found = lookup.stream(headwater, stream)
        view = documents.view(headwater, as_of, without)
        documents.answer(headwater, found, limit, {**view, "q": query, "where": where}, as_json=as_json)


@app.command()
def export(
    stream: options.Stream,
    *,
    output: To = None,
    form: Said = None,
    query: Query = None,
    where: Where = None,
    fields: Fields = None,
    columns: Infer = None,
    no_document: NoDocument = False,
    defuse: Defuse = False,
    bom: Mark = False,
    as_of: options.AsOf = None,
    without: options.Without = None,
    url: options.Url = None,
) -> None:
    """Write documents of a stream to a file or to stdout."""
    from headwater_client.cli import access, lookup  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli import export as cli_export  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        found = lookup.stream(headwater, stream)
        tasks = [lookup.task(headwater, ref).fid for ref in without or ()]
        cli_export.export(
            headwater,
            found,
            output,
            form,
            as_of=as_of,
            without=tasks,
            q=query,
            where=where,
            fields=[name for one in fields or () for name in cli_export.names_in(one)],
            columns=columns.value if columns is not None else None,
            document=not no_document,
            defuse=defuse,
            bom=bom,
        )


@app.command()
def log(
    stream: options.Stream, *, limit: options.Limit = 50, url: options.Url = None, as_json: options.AsJson = False
) -> None:
    """List the versions of a stream, newest first, and what made them."""
    from headwater_client.cli import access, lookup, output, table  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.models.results import LogEntry  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        found = table.first(headwater, f"/streams/{lookup.stream(headwater, stream).fid}/log", LogEntry, limit)
        entries = output.first(found, limit)
    columns: list[Column[LogEntry]] = [
        Column("version", lambda entry: entry.version, is_number=True),
        Column("at", lambda entry: f"{entry.at:%Y-%m-%d %H:%M}", is_whole=True),
        Column("change", lambda entry: entry.change, is_whole=True),
        Column("documents", lambda entry: f"{entry.docs:,}", is_number=True),
        Column("task", output.tasks_of, is_whole=True),
    ]
    output.answer_list(entries, columns, "versions", as_json=as_json)


app.add_typer(stream_changes.app)
