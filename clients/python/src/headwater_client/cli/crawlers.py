"""``headwater crawlers``."""

from typing import Annotated, Any

import typer

from headwater_client.cli import completion, crawler_changes, options
from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.options import Publish, group

app = group("Externals set up to feed a stream.")


Name = Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")]
Of = Annotated[
    str,
    typer.Option(
        "--external", "-e", metavar="EXTERNAL", help="The External's fid or name.", autocompletion=completion.externals
    ),
]
Into = Annotated[str | None, options.of_stream("The fid or name of the stream that it feeds.", "-s")]
NewStream = Annotated[
    str | None,
    typer.Option("--new-stream", metavar="NAME", help="Create that stream, and feed it.", show_default=False),
]
Params = Annotated[list[str] | None, options.param("A parameter; repeatable. Asks for the others on a terminal.")]
User = Annotated[
    str | None,
    typer.Option(
        "--credential", metavar="USER", help="Log in as that user; asks for the password.", show_default=False
    ),
]
When = Annotated[
    Publish | None,
    typer.Option(
        "--publish", help="Show documents as they come (live, unless said), or when a task is done.", show_default=False
    ),
]
Timeout = Annotated[
    int | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="Of silence, after which a task times out; otherwise 3600.",
        show_default=False,
    ),
]


@app.command("list")
def list_crawlers(*, limit: options.Limit = 50, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """List crawlers, newest first."""
    from headwater_client.cli import access, output, table  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.models.objects import Crawler  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        crawlers = output.first(table.first(headwater, "/crawlers", Crawler, limit), limit)
        called: dict[str, Any] = {}
        if crawlers.items and output.is_for_people(as_json=as_json):
            called = {each.fid: each.name for each in headwater.streams.list()}
    columns: list[Column[Crawler]] = [
        Column("crawler", lambda crawler: crawler.fid, is_whole=True),
        Column("state", lambda crawler: crawler.state, is_whole=True, may_be_empty=True, is_state=True),
        Column("name", lambda crawler: crawler.name),
        Column("stream", lambda crawler: called.get(crawler.stream) or crawler.stream),
    ]
    output.answer_list(crawlers, columns, "crawlers", as_json=as_json)


@app.command()
def show(crawler: options.Crawler, *, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """Show a crawler."""
    from headwater_client.cli import access, lookup, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        found = lookup.crawler(headwater, crawler)
        called: dict[str, str] = {}
        if output.is_for_people(as_json=as_json):
            around = (headwater.externals.get(found.external), headwater.streams.get(found.stream))
            called = {each.fid: each.name or "" for each in around}
        output.answer_object(found.raw, as_json=as_json, names=called)


@app.command()
def create(
    name: Name,
    *,
    external: Of,
    stream: Into = None,
    new_stream: NewStream = None,
    param: Params = None,
    version: options.Version = None,
    credential: User = None,
    credential_fid: options.OfLogin = None,
    password_stdin: options.PasswordStdin = False,
    publish: When = None,
    mode: options.RunMode = None,
    scope: options.RunScope = None,
    timeout: Timeout = None,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Set up an External to feed a stream.

    On a terminal it asks for the parameters that are not given, and for the credential if the External wants one.
    """
    from headwater_client.cli import access, credentials, lookup, output, parameters  # noqa: PLC0415 - likewise
    from headwater_client.cli.create import create_both  # noqa: PLC0415 - likewise

    if (stream is None) == (new_stream is None):
        raise CliError("say which stream: --stream STREAM, or --new-stream NAME", code=ExitCode.USAGE)
    with access.connected(url) as headwater:
        of = lookup.to_run(headwater, lookup.external(headwater, external), version)
        fields: dict[str, Any] = {
            "params": parameters.completed(of.parameters, parameters.values(of.parameters, param or [])),
            "credential": credentials.named(headwater, of, credential_fid)
            or credentials.asked(of, credential, from_stdin=password_stdin),
            "timeout": timeout,
            "publish": None if publish is None else publish.value,
            "mode": None if mode is None else mode.value,
            "scope": scope,
            "version": version,
        }
        if new_stream is None:
            made = headwater.crawlers.create(of, lookup.stream(headwater, stream or ""), name, **fields)
        else:
            made = create_both(headwater, new_stream, lambda into: headwater.crawlers.create(of, into, name, **fields))
        output.answer_made(made, "Crawler", as_json=as_json)


app.add_typer(crawler_changes.app)
