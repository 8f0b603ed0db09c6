"""``headwater externals``: the commands that change an External."""

# ruff: noqa: PLC0415 - commands import what they need, so that help need not wait for it

from typing import Annotated, Any

import typer

from headwater_client.cli import options
from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.options import group

app = group("Changes of Externals.")

Endpoint = Annotated[
    str | None, typer.Option("--endpoint", metavar="URL", help="Of the crawler's server.", show_default=False)
]
Push = Annotated[bool, typer.Option("--push", help="It has no server: a script uploads.")]
Schema = Annotated[
    str | None,
    typer.Option("--schema", metavar="FILE", help="The JSON Schema of documents; - is stdin.", show_default=False),
]
DocIdField = Annotated[
    str | None,
    typer.Option("--doc-id-field", metavar="NAME", help="The field with a document's id.", show_default=False),
]
Cascade = Annotated[bool, typer.Option("--cascade", help="Its crawlers too, with their tasks and documents, for good.")]


@app.command()
def edit(
    external: options.External,
    *,
    name: options.NewName = None,
    endpoint: Endpoint = None,
    push: Push = False,
    schema: Schema = None,
    doc_id_field: DocIdField = None,
    patch: options.Patch = None,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Change an External, as a new version.

    Without options, its fields are opened in an editor. Tasks that run keep the version they were started with.
    """
    from headwater_client.cli import access, editor, edits, lookup
    from headwater_client.cli.register import read_json
    from headwater_client.externals import WRITABLE

    if push and endpoint is not None:
        raise CliError("say which: --endpoint URL or --push", code=ExitCode.USAGE)
    if patch is not None and schema is not None:
        raise CliError("say which: --schema FILE, or a schema in --patch FILE", code=ExitCode.USAGE)
    # Whoever edits an External here has named its endpoint: ``to_server`` is for programs that do not look.
    with access.connected(url) as headwater:
        found = lookup.external(headwater, external)
        fields: dict[str, Any] = edits.given(name, patch)
        fields |= {"endpoint": endpoint} if push or endpoint is not None else {}
        fields |= {} if schema is None else {"schema": read_json(schema)}
        fields |= {} if doc_id_field is None else {"docIdField": doc_id_field}
        if patch is not None:
            changed = headwater.externals.update(found, fields, if_version=found.version, to_server=True)
        else:
            # Whole, and not as a merge patch, which cannot hold the nulls of a schema.
            whole = edits.writable(found, WRITABLE)
            fields = fields or edits.differing(whole, editor.edited(whole))
            whole |= {**fields, "meta": {**found.meta, **fields["meta"]}} if name is not None else fields
            changed = headwater.externals.replace(found, whole, if_version=found.version, to_server=True)
        edits.answer(changed, "External", fields, as_json=as_json)


@app.command()
def delete(
    external: options.External, *, cascade: Cascade = False, yes: options.Yes = False, url: options.Url = None
) -> None:
    """Delete an External, for good."""
    from headwater_client.cli import access, edits, lookup

    with access.connected(url) as headwater:
        found = lookup.external(headwater, external)
        more = " with all its crawlers, their tasks and documents" if cascade else ""
        edits.delete(headwater.externals, found, "External", more, cascade=cascade, yes=yes)
