"""``headwater externals``."""

# Annotations are not put off: on Python 3.9 typer does not resolve them.

from typing import Annotated

import typer

from headwater_client.cli import words
from headwater_client.cli.words import group

app = group("Crawlers that somebody wrote, registered.")

Described = Annotated[
    str, typer.Argument(metavar="FILE", help="A JSON object with the fields of the External; - is stdin.")
]


@app.command("list")
def list_externals(*, limit: words.Limit = 50, url: words.Url = None, as_json: words.AsJson = False) -> None:
    """List Externals, newest first."""
    from headwater_client.cli import access, lists, output  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.objects import External  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        externals = output.first(lists.first(headwater, "/externals", External, limit), limit)
    columns: list[Column[External]] = [
        Column("external", lambda external: external.fid, is_whole=True),
        Column("version", lambda external: external.version, is_number=True),
        Column("name", lambda external: external.name),
        Column("endpoint", lambda external: external.endpoint or "(push)"),
    ]
    output.answer_list(externals, columns, "Externals", as_json=as_json)


@app.command()
def show(external: words.External, *, url: words.Url = None, as_json: words.AsJson = False) -> None:
    """Show an External."""
    from headwater_client.cli import access, names, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        output.answer_object(names.external(headwater, external).raw, as_json=as_json)


@app.command()
def register(file: Described, *, url: words.Url = None, as_json: words.InJson = False) -> None:
    """Register the External that a file describes, or update it.

    It is found again by its meta.name. What the file does not say goes back to its default, except in meta. If nothing
    differs, nothing is changed.
    """
    from headwater_client.cli import access, output, registering  # noqa: PLC0415 - help need not wait for it

    fields = registering.described(file)
    with access.connected(url) as headwater:
        external, what = registering.registered(headwater, fields)
        if as_json:
            output.answer_json(external.raw)
        else:
            typer.echo(f"External {external.fid} ({external.name}) {what}, version {external.version}.")
