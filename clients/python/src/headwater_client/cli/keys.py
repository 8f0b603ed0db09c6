"""``headwater keys``: of a server that is reached by its URL, or of a data directory on this machine."""

# ruff: noqa: PLC0415 - commands import what they need, so that help need not wait for it

from enum import StrEnum
from typing import Annotated, Any

import typer

from headwater_client.cli import completion, options
from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.options import group

app = group("API keys: create, list, rotate, revoke.")


class Scope(StrEnum):
    """What a key may do."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, or what for.")]
Ref = Annotated[str, typer.Argument(metavar="KEY", help="Its fid, its start, or its name.")]
Scopes = Annotated[list[Scope] | None, typer.Option("--scope", help="What it may do; repeatable.", show_default="read")]
Streams = Annotated[
    list[str] | None,
    typer.Option(
        "--stream",
        "-s",
        metavar="STREAM",
        help="Only that stream, with its crawler; repeatable.",
        show_default=False,
        autocompletion=completion.streams,
    ),
]
Crawlers = Annotated[
    list[str] | None,
    typer.Option(
        "--crawler",
        metavar="CRAWLER",
        help="Only that crawler, with its stream; repeatable.",
        show_default=False,
        autocompletion=completion.crawlers,
    ),
]
Expires = Annotated[
    str | None,
    typer.Option("--expires", metavar="TIME", help="After that time, such as 90d, or at a moment.", show_default=False),
]
NewScopes = Annotated[
    list[Scope] | None, typer.Option("--scope", help="What it may do; repeatable.", show_default=False)
]
Everything = Annotated[bool, typer.Option("--everywhere", help="No longer limited to streams and crawlers.")]
Never = Annotated[bool, typer.Option("--never-expires", help="It no longer expires.")]
Overlap = Annotated[str, typer.Option("--overlap", metavar="TIME", help="How long the former secret works as well.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="A server's data directory on this machine, instead of a URL.",
        show_default=False,
    ),
]


@app.command()
def create(
    name: Name,
    *,
    scope: Scopes = None,
    stream: Streams = None,
    crawler: Crawlers = None,
    expires: Expires = None,
    data: Data = None,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    from headwater_client.cli import key_store

    limits = {"scopes": [each.value for each in scope or [Scope.READ]], "expires_at": key_store.moment(expires)}
    with key_store.opened(data, url) as store:
        limits |= store.limits(stream, crawler)
        key_store.answer_made(store.create(name, limits), as_json=as_json)


@app.command("list")
def list_keys(
    *, limit: options.Limit = 50, data: Data = None, url: options.Url = None, as_json: options.AsJson = False
) -> None:
    """List the keys, newest first; their secrets are not stored."""
    from headwater_client.cli import key_store, output

    with key_store.opened(data, url) as store:
        found = output.first(store.listed(), limit)
    output.answer_list(found, key_store.COLUMNS, "keys", as_json=as_json)


@app.command()
def show(key: Ref, *, data: Data = None, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """Show a key, without its secret."""
    from headwater_client.cli import key_store, output

    with key_store.opened(data, url) as store:
        output.answer_object(store.find(key).raw, as_json=as_json)


@app.command()
def edit(
    key: Ref,
    *,
    name: options.NewName = None,
    scope: NewScopes = None,
    stream: Streams = None,
    crawler: Crawlers = None,
    everywhere: Everything = False,
    expires: Expires = None,
    never_expires: Never = False,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Change a key, effective with its next request."""
    from headwater_client.cli import key_store, output

    if (everywhere and (stream or crawler)) or (never_expires and expires is not None):
        raise CliError("these options exclude each other", code=ExitCode.USAGE)
    with key_store.opened(None, url) as store:
        fields: dict[str, Any] = {} if name is None else {"name": name}
        fields |= {"scopes": [each.value for each in scope]} if scope else {}
        fields |= dict.fromkeys(("streams", "crawlers")) if everywhere else store.limits(stream, crawler)
        fields |= {"expires_at": key_store.moment(expires)} if never_expires or expires is not None else {}
        if not fields:
            raise CliError("say what to change; --help lists the options", code=ExitCode.USAGE)
        changed = store.change(store.find(key), fields)
        if as_json:
            output.answer_json(changed.raw)
        else:
            typer.echo(f"Key {changed.fid} ({changed.name}) is changed: {', '.join(sorted(fields))}.")


@app.command()
def rotate(
    key: Ref,
    *,
    overlap: Overlap = "24h",
    data: Data = None,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Give a key a new secret and print it.

    The former one works for a time as well.
    """
    from headwater_client.cli import durations, key_store

    seconds = durations.seconds(overlap, "--overlap")
    with key_store.opened(data, url) as store:
        key_store.answer_made(store.rotate(store.find(key), seconds), as_json=as_json)


@app.command()
def revoke(key: Ref, *, data: Data = None, url: options.Url = None) -> None:
    """End a key at once."""
    from headwater_client.cli import key_store

    with key_store.opened(data, url) as store:
        found = store.find(key)
        store.revoke(found)
        typer.echo(f"Key {found.fid} is revoked.")


@app.command()
def admin(*, data: Data = None) -> None:
    """Make a new admin key, also in the file admin.key.

    It is in the data directory. For one that is lost. Former admin keys stay valid until they are revoked.
    """
    from headwater_client.cli import key_store

    with key_store.local(data) as store:
        file, secret = store.make_admin()
        typer.echo(f"The admin key, also in {file}; 'headwater keys list' shows former ones, to be revoked:", err=True)
        typer.echo(secret)
