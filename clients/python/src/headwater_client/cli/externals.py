"""``headwater externals``."""

from typing import Annotated

import typer

from headwater_client.cli import external_changes, options
from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.options import group

app = group("Manage crawler definitions (Externals).")

Described = Annotated[
    str, typer.Argument(metavar="FILE", help="A JSON object with the fields of the External; - is stdin.")
]


AtVersion = Annotated[
    int | None,
    typer.Option("--version", metavar="N", min=1, help="As it was described at that version.", show_default=False),
]
Schema = Annotated[str, typer.Argument(metavar="SCHEMA_FILE", help="A JSON Schema; - is stdin.")]
DocIdField = Annotated[
    str | None,
    typer.Option("--doc-id-field", metavar="NAME", help="To try another one with it.", show_default=False),
]
ToPublish = Annotated[int | None, typer.Argument(metavar="[VERSION]", min=1, help="The version.", show_default=False)]
Newest = Annotated[bool, typer.Option("--newest", help="None in particular: always the newest.")]


Renewing = Annotated[
    str | None,
    typer.Option("--renew", metavar="CREDENTIAL", help="The fid of the credential to renew.", show_default=False),
]
Reset = Annotated[bool, typer.Option("--reset", help="Let the server forget who was logged in there.")]
Browser = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]
Wait = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0, help="For the person, where nobody can press Enter.")
]
OfLogin = Annotated[str, typer.Argument(metavar="CREDENTIAL", help="Its fid.")]


@app.command("list")
def list_externals(*, limit: options.Limit = 50, url: options.Url = None, as_json: options.AsJson = False) -> None:
    """List Externals, newest first."""
    from headwater_client.cli import access, output, table  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.models.objects import External  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        externals = output.first(table.first(headwater, "/externals", External, limit), limit)
    columns: list[Column[External]] = [
        Column("external", lambda external: external.fid, is_whole=True),
        Column("version", lambda external: external.version, is_number=True),
        Column("published", lambda external: external.published, is_number=True, may_be_empty=True),
        Column("name", lambda external: external.name),
        Column("endpoint", lambda external: external.endpoint or "(push)"),
    ]
    output.answer_list(externals, columns, "Externals", as_json=as_json)


@app.command()
def show(
    external: options.External, *, version: AtVersion = None, url: options.Url = None, as_json: options.AsJson = False
) -> None:
    """Show an External, as it is or as it was described at a version."""
    from headwater_client.cli import access, lookup, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        found = lookup.external(headwater, external)
        if version is not None:
            found = headwater.externals.get(found, version=version)
        output.answer_object(found.raw, as_json=as_json)


@app.command()
def versions(
    external: options.External, *, limit: options.Limit = 50, url: options.Url = None, as_json: options.AsJson = False
) -> None:
    """List the versions of an External, newest first."""
    from headwater_client.cli import access, lookup, output, table  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.models.objects import ExternalVersion  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        fid = lookup.external(headwater, external).fid
        found = output.first(table.first(headwater, f"/externals/{fid}/versions", ExternalVersion, limit), limit)
    columns: list[Column[ExternalVersion]] = [
        Column("version", lambda each: each.version, is_number=True),
        Column("age", lambda each: output.age(each.created_at), is_number=True),
        Column("published", lambda each: "yes" if each.published else "", may_be_empty=True),
    ]
    output.answer_list(found, columns, "versions", as_json=as_json)


@app.command()
def publish(
    external: options.External,
    version: ToPublish = None,
    *,
    newest: Newest = False,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Let crawlers run with a version of an External.

    Tasks that run keep theirs.
    """
    from headwater_client.cli import access, lookup, output  # noqa: PLC0415 - help need not wait for it

    if (version is None) != newest:
        raise CliError("say which version: VERSION, or --newest for always the newest", code=ExitCode.USAGE)
    with access.connected(url) as headwater:
        published = headwater.externals.publish(lookup.external(headwater, external), version)
        if as_json:
            output.answer_json(published.raw)
        else:
            which = "always the newest version" if version is None else f"version {version}"
            typer.echo(f"Crawlers of External {published.fid} ({published.name}) run with {which}.")


@app.command()
def register(file: Described, *, url: options.Url = None, as_json: options.InJson = False) -> None:
    """Register the External that a file describes, or update it.

    It is found again by its meta.name. What the file does not say goes back to its default, except in meta; but it is
    refused if the External would turn from push to a server, or back. If nothing differs, nothing is changed.
    """
    from headwater_client.cli import access, output  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli import register as cli_register  # noqa: PLC0415 - help need not wait for it

    fields = cli_register.described(file)
    with access.connected(url) as headwater:
        external, what = cli_register.registered(headwater, fields)
        if as_json:
            output.answer_json(external.raw)
        else:
            typer.echo(f"External {external.fid} ({external.name}) {what}, version {external.version}.")


@app.command()
def check(
    external: options.External,
    schema: Schema,
    *,
    doc_id_field: DocIdField = None,
    url: options.Url = None,
    as_json: options.AsJson = False,
) -> None:
    """Tell which current documents a schema would refuse.

    It is as if they were uploaded now; nothing is stored.

    All documents that the External's crawlers brought and that show are checked. The exit code is 5 if any would be
    refused.
    """
    from headwater_client.cli import access, lookup, schema_check  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli import register as cli_register  # noqa: PLC0415 - help need not wait for it

    tried = cli_register.read_json(schema)
    with access.connected(url) as headwater:
        found = headwater.externals.check(lookup.external(headwater, external), tried, doc_id_field=doc_id_field)
    schema_check.answer(found, as_json=as_json)
    if found.failing:
        raise typer.Exit(ExitCode.REJECTED)


@app.command()
def login(
    external: options.External,
    *,
    renew: Renewing = None,
    reset: Reset = False,
    browser: Browser = False,
    wait: Wait = 300,
    version: options.Version = None,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Log in at an External's server by OAuth.

    Its page is shown on stderr. When a person has logged in there, the token is fetched, and Headwater keeps it as a
    credential that crawlers can name.
    """
    from headwater_client.cli import access, login_wait, lookup, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        of = lookup.external(headwater, external)
        begun = headwater.externals.login(of, reset=reset, renewing=renew, version=version)
        if browser:
            typer.launch(begun.url)
        credential = login_wait.finished(headwater, of, begun, version=version, wait=wait)
        if as_json:
            output.answer_json(credential.raw)
        else:
            typer.echo(f"Credential {credential.fid} ({login_wait.describe(credential)}) is kept.")


@app.command()
def credentials(
    external: options.External, *, limit: options.Limit = 50, url: options.Url = None, as_json: options.AsJson = False
) -> None:
    """List the credentials that logins came to, newest first."""
    from headwater_client.cli import access, lookup, output, table  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.models.objects import Credential  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        fid = lookup.external(headwater, external).fid
        found = output.first(table.first(headwater, f"/externals/{fid}/oauth/credentials", Credential, limit), limit)
    columns: list[Column[Credential]] = [
        Column("credential", lambda each: each.fid, is_whole=True),
        Column("expired", lambda each: "yes" if each.expired else "", may_be_empty=True),
        Column("user", lambda each: each.user, may_be_empty=True),
        Column("name", lambda each: each.reported_name, may_be_empty=True),
        Column("renewed", lambda each: output.age(each.renewed_at), is_number=True),
    ]
    output.answer_list(found, columns, "credentials", as_json=as_json)


@app.command()
def forget(external: options.External, credential: OfLogin, *, url: options.Url = None) -> None:
    """Forget a credential that no crawler names.

    Its External's server is told to forget the token, too.
    """
    from headwater_client.cli import access, lookup  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        headwater.externals.delete_credential(lookup.external(headwater, external), credential)
        typer.echo(f"Credential {credential} is forgotten.")


app.add_typer(external_changes.app)
