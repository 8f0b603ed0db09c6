"""``headwater externals``."""

# Annotations are not put off: on Python 3.9 typer does not resolve them.

from typing import Annotated, Optional

import typer

from headwater_client.cli import words
from headwater_client.cli.endings import Code, Refusal
from headwater_client.cli.words import group

app = group("Crawlers that somebody wrote, registered.")

Described = Annotated[
    str, typer.Argument(metavar="FILE", help="A JSON object with the fields of the External; - is stdin.")
]


AtVersion = Annotated[
    Optional[int],
    typer.Option("--version", metavar="N", min=1, help="As it was described at that version.", show_default=False),
]
Schema = Annotated[str, typer.Argument(metavar="SCHEMA_FILE", help="A JSON Schema; - is stdin.")]
DocIdField = Annotated[
    Optional[str],
    typer.Option("--doc-id-field", metavar="NAME", help="To try another one with it.", show_default=False),
]
ToPublish = Annotated[
    Optional[int], typer.Argument(metavar="[VERSION]", min=1, help="The version.", show_default=False)
]
Newest = Annotated[bool, typer.Option("--newest", help="None in particular: always the newest.")]


Renewing = Annotated[
    Optional[str],
    typer.Option("--renew", metavar="CREDENTIAL", help="The fid of the credential to renew.", show_default=False),
]
Reset = Annotated[bool, typer.Option("--reset", help="Let the server forget who was logged in there.")]
Browser = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]
Wait = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0, help="For the person, where nobody can press Enter.")
]
OfLogin = Annotated[str, typer.Argument(metavar="CREDENTIAL", help="Its fid.")]


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
        Column("published", lambda external: external.published, is_number=True, may_be_empty=True),
        Column("name", lambda external: external.name),
        Column("endpoint", lambda external: external.endpoint or "(push)"),
    ]
    output.answer_list(externals, columns, "Externals", as_json=as_json)


@app.command()
def show(
    external: words.External, *, version: AtVersion = None, url: words.Url = None, as_json: words.AsJson = False
) -> None:
    """Show an External, as it is or as it was described at a version."""
    from headwater_client.cli import access, names, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        found = names.external(headwater, external)
        if version is not None:
            found = headwater.externals.get(found, version=version)
        output.answer_object(found.raw, as_json=as_json)


@app.command()
def versions(
    external: words.External, *, limit: words.Limit = 50, url: words.Url = None, as_json: words.AsJson = False
) -> None:
    """List the versions of an External, newest first."""
    from headwater_client.cli import access, lists, names, output  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.objects import ExternalVersion  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        fid = names.external(headwater, external).fid
        found = output.first(lists.first(headwater, f"/externals/{fid}/versions", ExternalVersion, limit), limit)
    columns: list[Column[ExternalVersion]] = [
        Column("version", lambda each: each.version, is_number=True),
        Column("age", lambda each: output.age(each.created_at), is_number=True),
        Column("published", lambda each: "yes" if each.published else "", may_be_empty=True),
    ]
    output.answer_list(found, columns, "versions", as_json=as_json)


@app.command()
def publish(
    external: words.External,
    version: ToPublish = None,
    *,
    newest: Newest = False,
    url: words.Url = None,
    as_json: words.InJson = False,
) -> None:
    """Let crawlers run with a version of an External.

    Tasks that run keep theirs.
    """
    from headwater_client.cli import access, names, output  # noqa: PLC0415 - help need not wait for it

    if (version is None) != newest:
        raise Refusal("say which version: VERSION, or --newest for always the newest", code=Code.USAGE)
    with access.connected(url) as headwater:
        published = headwater.externals.publish(names.external(headwater, external), version)
        if as_json:
            output.answer_json(published.raw)
        else:
            which = "always the newest version" if version is None else f"version {version}"
            typer.echo(f"Crawlers of External {published.fid} ({published.name}) run with {which}.")


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


@app.command()
def check(
    external: words.External,
    schema: Schema,
    *,
    doc_id_field: DocIdField = None,
    url: words.Url = None,
    as_json: words.AsJson = False,
) -> None:
    """Tell which current documents a schema would refuse.

    It is as if they were uploaded now; nothing is stored.

    All documents that the External's crawlers brought and that show are checked. The exit code is 5 if any would be
    refused.
    """
    from headwater_client.cli import access, checking, names, registering  # noqa: PLC0415 - help need not wait for it

    tried = registering.read_json(schema)
    with access.connected(url) as headwater:
        found = headwater.externals.check(names.external(headwater, external), tried, doc_id_field=doc_id_field)
    checking.answer(found, as_json=as_json)
    if found.failing:
        raise typer.Exit(Code.REJECTED)


@app.command()
def login(
    external: words.External,
    *,
    renew: Renewing = None,
    reset: Reset = False,
    browser: Browser = False,
    wait: Wait = 300,
    version: words.Version = None,
    url: words.Url = None,
    as_json: words.InJson = False,
) -> None:
    """Log in at an External's server by OAuth.

    Its page is shown on stderr. When a person has logged in there, the token is fetched, and Headwater keeps it as a
    credential that crawlers can name.
    """
    from headwater_client.cli import access, finishing, names, output  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        of = names.external(headwater, external)
        begun = headwater.externals.login(of, reset=reset, renewing=renew, version=version)
        if browser:
            typer.launch(begun.url)
        credential = finishing.finished(headwater, of, begun, version=version, wait=wait)
        if as_json:
            output.answer_json(credential.raw)
        else:
            typer.echo(f"Credential {credential.fid} ({finishing.told(credential)}) is kept.")


@app.command()
def credentials(
    external: words.External, *, limit: words.Limit = 50, url: words.Url = None, as_json: words.AsJson = False
) -> None:
    """List the credentials that logins came to, newest first."""
    from headwater_client.cli import access, lists, names, output  # noqa: PLC0415 - help need not wait for it
    from headwater_client.cli.output import Column  # noqa: PLC0415 - likewise
    from headwater_client.objects import Credential  # noqa: PLC0415 - likewise

    with access.connected(url) as headwater:
        fid = names.external(headwater, external).fid
        found = output.first(lists.first(headwater, f"/externals/{fid}/oauth/credentials", Credential, limit), limit)
    columns: list[Column[Credential]] = [
        Column("credential", lambda each: each.fid, is_whole=True),
        Column("expired", lambda each: "yes" if each.expired else "", may_be_empty=True),
        Column("user", lambda each: each.user, may_be_empty=True),
        Column("name", lambda each: each.reported_name, may_be_empty=True),
        Column("renewed", lambda each: output.age(each.renewed_at), is_number=True),
    ]
    output.answer_list(found, columns, "credentials", as_json=as_json)


@app.command()
def forget(external: words.External, credential: OfLogin, *, url: words.Url = None) -> None:
    """Forget a credential that no crawler names.

    Its External's server is told to forget the token, too.
    """
    from headwater_client.cli import access, names  # noqa: PLC0415 - help need not wait for it

    with access.connected(url) as headwater:
        headwater.externals.delete_credential(names.external(headwater, external), credential)
        typer.echo(f"Credential {credential} is forgotten.")
