"""Externals: create, list, read, change, delete."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, Self, cast
from urllib.parse import urlsplit

from fastapi import Query, Request, Response, status
from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr, field_validator

from headwater.api import key_limits, routing
from headwater.api.auth import WRITES, Reader
from headwater.api.dependencies import Services, ServicesOf
from headwater.api.openapi import fails
from headwater.api.query_params import FidPrefix
from headwater.api.request_bodies import (
    HIGHEST_EDIT,
    IfMatch,
    MergePatch,
    Meta,
    NewMeta,
    RequestBody,
    merge_patch,
    patched,
)
from headwater.api.responses import Cursor, Envelope, Limit, Listing, ObjectOut, answer, common, listing, position_of
from headwater.catalog import crawlers, externals, links, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.keys import Key, Scope
from headwater.catalog.objects import EXTERNALS
from headwater.catalog.vault import REDACTED, Vault, keep_redacted_headers
from headwater.domain.deletion import DeleteMarker
from headwater.domain.errors import InUse, MovedMeanwhile
from headwater.domain.external import CredentialType, Definition, External, check_definition
from headwater.domain.ids import new_fid
from headwater.domain.parameter import Parameter
from headwater.domain.redaction import without_password
from headwater.ingest.bounded_validator import BoundedValidator
from headwater.lifecycle import deletion

router = routing.router("externals")

ToServer = Annotated[
    bool,
    Query(description="Give a push External that crawlers use an `endpoint`: their runs are then started there."),
]

#: Attempts of an edit when others interfere.
_TRIES = 10

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

_URL: dict[str, Any] = {"anyOf": [{"type": "string", "pattern": r"^https?://[A-Za-z0-9]"}, {"type": "null"}]}

_EXAMPLE: dict[str, Any] = {
    "meta": {"name": "Reviews"},
    "endpoint": "http://127.0.0.1:9000",
    "docIdField": "sku",
    "schema": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}},
    "parameters": [{"name": "language", "type": "list", "options": ["de", "en"], "req": True}],
}


def _as_json_has_it(value: object) -> object:
    """Reject values that pydantic would convert to a number or a boolean."""
    if not isinstance(value, dict):
        return value
    parameter = cast("dict[str, object]", value)
    wrong = [name for name in ("min", "max") if isinstance(parameter.get(name), bool | str)]
    if wrong:
        raise ValueError(f"{wrong[0]} is a number, or null")
    if "req" in parameter and not isinstance(parameter["req"], bool):
        raise ValueError("req is true or false")
    return parameter


class DeleteMarkerBody(RequestBody):
    """What marks a document as a deletion: a top-level field with a value."""

    field: str = Field(min_length=1, max_length=200, examples=["_deleted"])
    value: StrictBool | StrictInt | Annotated[StrictStr, Field(max_length=200)] = Field(examples=[True])


class ExternalFields(RequestBody):
    """The definition of an External by its developer."""

    endpoint: str | None = Field(
        default=None,
        description="Base URL of the EC; null means push: there is no server, a script uploads.",
        json_schema_extra=_URL,
    )
    credential: CredentialType | None = Field(default=None, description='`"ignore"` is taken as null.')
    oauth: str | None = Field(
        default=None, description="Base URL of the EC's OAuth service; needed for `oauth`.", json_schema_extra=_URL
    )
    oauth_parameters: Any = Field(
        default=None,
        alias="oauthParameters",
        description="Handed on to the page on which a person logs in; for `oauth` an object, or null.",
        examples=[{"subdomain": "acme"}],
    )
    json_schema: dict[str, Any] | StrictBool | None = Field(
        default=None,
        alias="schema",
        description="JSON Schema, draft 4 to 2020-12 by its `$schema`, that each document must match.",
    )
    doc_id_field: str | None = Field(
        None, alias="docIdField", description="The field that holds a document's id; null makes ids from the content."
    )
    delete_marker: DeleteMarkerBody | None = Field(
        None,
        alias="deleteMarker",
        description='What marks a document as a deletion, for sources that send such; a line `{"$delete": id}` always '
        "is one.",
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Sent with each request to the EC. Values are stored encrypted; to a key that may only read they "
        "show as `********`, which, sent back, stands for the value that is stored.",
        json_schema_extra={
            "propertyNames": {"pattern": f"^{_HEADER_NAME.pattern}$"},
            "additionalProperties": {"type": "string", "pattern": f"^{_HEADER_VALUE.pattern}$"},
        },
    )
    parameters: list[Annotated[Parameter, BeforeValidator(_as_json_has_it)]] = Field(default_factory=list[Parameter])
    analysis: dict[str, Any] | None = Field(default=None, description="Kept and handed on.")

    @field_validator("credential", mode="before")
    @classmethod
    def _ignore_is_none(cls, value: object) -> object:
        return None if value == "ignore" else value

    @field_validator("endpoint", "oauth")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("expected an absolute URL, http://… or https://…")
        return value

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, content in value.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(content):
                raise ValueError(f"{name!r} with its value is no HTTP header")
        return value

    def definition(self, vault: Vault, stored: Mapping[str, Any] = MappingProxyType({})) -> Definition:
        """Return the validated definition; ``stored`` are the headers to which placeholders refer.

        Raises:
            RequestInvalid: a placeholder refers to no stored header.
            SchemaInvalid: schema, parameters or login are inconsistent.
        """
        definition = Definition(
            endpoint=self.endpoint,
            credential=self.credential,
            oauth=self.oauth,
            oauth_parameters=self.oauth_parameters,
            schema=self.json_schema,
            doc_id_field=self.doc_id_field,
            delete_marker=None if self.delete_marker is None else DeleteMarker(**dict(self.delete_marker)),
            headers=vault.seal_headers(keep_redacted_headers(stored, self.headers), stored),
            parameters=tuple(self.parameters),
            analysis=self.analysis,
        )
        check_definition(definition)
        return definition


class NewExternal(ExternalFields):
    """An External to create."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    meta: NewMeta = Field(default_factory=NewMeta)


class ExternalBody(ExternalFields):
    """The writable fields of an External."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    meta: Meta = Field(default_factory=Meta)


class ExternalOut(ObjectOut):
    """A registered crawler. `version` is sent to the EC with each call."""

    endpoint: str | None
    credential: CredentialType | None
    oauth: str | None
    oauth_parameters: Any = Field(alias="oauthParameters")
    json_schema: dict[str, Any] | bool | None = Field(alias="schema")
    doc_id_field: str | None = Field(alias="docIdField")
    delete_marker: DeleteMarkerBody | None = Field(alias="deleteMarker")
    headers: dict[str, str] = Field(
        description="To a key that may only read, each value is `********`.", examples=[{"X-Key": "********"}]
    )
    parameters: list[Parameter]
    analysis: dict[str, Any] | None
    published: int | None = Field(
        description="The version that crawlers run with; null means always the newest. `publish` sets it.",
        examples=[4],
    )

    @classmethod
    def of(cls, external: External, vault: Vault | None = None) -> Self:
        """Return an External in the form of the API; header values are included only with a vault that unseals them."""
        definition = external.definition
        return cls(
            **common(external, "externals"),
            endpoint=without_password(definition.endpoint) if vault is None else definition.endpoint,
            credential=definition.credential,
            oauth=without_password(definition.oauth) if vault is None else definition.oauth,
            oauthParameters=definition.oauth_parameters,
            schema=definition.schema,
            docIdField=definition.doc_id_field,
            deleteMarker=None
            if definition.delete_marker is None
            else DeleteMarkerBody.model_validate(vars(definition.delete_marker)),
            headers=dict.fromkeys(definition.headers, REDACTED)
            if vault is None
            else vault.unseal_headers(definition.headers),
            parameters=list(definition.parameters),
            analysis=definition.analysis,
            published=external.published,
        )


@router.post("/externals", status_code=status.HTTP_201_CREATED, dependencies=[WRITES], responses=fails(409, 415))
async def create_external(
    body: NewExternal,
    services: ServicesOf,
    response: Response,
    unique: Annotated[
        bool,
        Query(
            description="Refuse it if another External has its `meta.name` (409), so that it can be found by its name; "
            "of several that are registered at once, one is created."
        ),
    ] = False,
) -> Envelope[ExternalOut]:
    """Register an External."""

    def create(tx: Transaction, at: datetime) -> ExternalOut:
        fid = new_fid(at)
        links.add(tx, body.meta.links_of("externals", fid), known=fid)
        external = External(
            fid=fid, definition=definition, created_at=at, updated_at=at, version=1, meta=body.meta.kept()
        )
        added = externals.add_named(tx, external) if unique else objects.add(tx, EXTERNALS, external)
        return ExternalOut.of(added, services.vault)

    definition = body.definition(services.vault)
    await _require_compilable(services, definition)
    made = await services.db.write(create, services.clock())
    response.headers["Location"] = f"/externals/{made.fid}"
    return answer(response, made)


@router.get("/externals")
async def list_externals(
    key: Reader,
    services: ServicesOf,
    request: Request,
    response: Response,
    name: Annotated[str | None, Query(description="Only those whose `meta.name` is this.")] = None,
    fid: FidPrefix = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[ExternalOut]:
    """List Externals, newest first."""
    where = {field: value for field, value in {"name": name, "fid": fid}.items() if value is not None}
    page = await services.db.read(
        objects.page,
        EXTERNALS,
        where=where,
        after=position_of(cursor, str),
        limit=limit,
        within=key_limits.within(key, EXTERNALS),
    )
    last = page[-1].fid if page else None
    vault = _vault_for(key, services)
    shown = [ExternalOut.of(external, vault) for external in page]
    return listing(request, response, shown, limit=limit, last=last)


@router.get("/externals/{fid}", responses=fails(404))
async def get_external(
    fid: str,
    key: Reader,
    services: ServicesOf,
    response: Response,
    version: Annotated[
        int | None,
        Query(ge=1, le=HIGHEST_EDIT, description="As it was described at that version; the newest otherwise."),
    ] = None,
) -> Envelope[ExternalOut]:
    """Read an External in its current or a former version.

    For a former version, `updated_at` is when it was created; `meta` and `published` are the current ones.
    """
    if version is None:
        external = await services.db.read(objects.get, EXTERNALS, fid)
    else:
        external = await services.db.read(externals.at, fid, version)
    return answer(response, ExternalOut.of(external, _vault_for(key, services)))


def _vault_for(key: Key, services: Services) -> Vault | None:
    # A key that may write could redirect the headers to itself anyway.
    return services.vault if key.allows(Scope.WRITE) else None


class _SchemaMoved(MovedMeanwhile):
    """The schema has changed since it was compiled."""


async def _require_compilable(services: Services, definition: Definition) -> None:
    """Raise unless the schema compiles; a costly one is compiled in the sandbox.

    Raises:
        SchemaInvalid: it does not compile.
    """
    if definition.schema is not None:
        await services.sandbox.run(partial(BoundedValidator, definition.schema, sandbox=services.sandbox))


async def _changed(
    services: Services,
    fid: str,
    expected: frozenset[int] | None,
    body: ExternalBody | dict[str, Any],
    *,
    to_server: bool,
) -> ExternalOut:
    """Change an External; its schema is compiled before the transaction, which must be short."""
    for _ in range(_TRIES):
        definition = await services.db.read(_definition_after, fid, expected, body, services.vault)
        await _require_compilable(services, definition)
        with suppress(_SchemaMoved):
            return await services.db.write(
                _change,
                fid,
                expected,
                body,
                definition,
                to_server=to_server,
                vault=services.vault,
                at=services.clock(),
            )
    raise MovedMeanwhile(f"External {fid} is edited too fast; try again")


def _definition_after(
    tx: Transaction, fid: str, expected: frozenset[int] | None, body: ExternalBody | dict[str, Any], vault: Vault
) -> Definition:
    old = objects.get(tx, EXTERNALS, fid)
    objects.require_version(old, expected)
    new = patched(_body(old, vault), body) if isinstance(body, dict) else body
    return new.definition(vault, old.definition.headers)


def _change(
    tx: Transaction,
    fid: str,
    expected: frozenset[int] | None,
    body: ExternalBody | dict[str, Any],
    compiled: Definition,
    *,
    to_server: bool,
    vault: Vault,
    at: datetime,
) -> ExternalOut:
    old = objects.get(tx, EXTERNALS, fid, lock=True)
    objects.require_version(old, expected)
    if isinstance(body, dict):
        body = patched(_body(old, vault), body)
    definition = body.definition(vault, old.definition.headers)
    if json.dumps(definition.schema) != json.dumps(compiled.schema):
        raise _SchemaMoved(f"External {fid} has another schema now")
    if old.definition.endpoint is None and definition.endpoint is not None and not to_server:
        _require_no_scripts(tx, fid)
    new = replace(old, definition=definition, meta=body.meta.kept(), **objects.edited(at, old.version))
    return ExternalOut.of(objects.save(tx, EXTERNALS, old, new), vault)


def _require_no_scripts(tx: Transaction, fid: str) -> None:
    streams = crawlers.fed_by(tx, fid)
    if streams:
        raise InUse(
            f"External {fid} has no endpoint (push), and scripts upload for its crawlers ({len(streams)}); with an "
            "endpoint their runs would be started there. If that is meant, add ?to_server=true; a crawler server that "
            "registers needs an External with another name"
        )


def _body(external: External, vault: Vault) -> ExternalBody:
    shown = ExternalOut.of(external, vault).model_dump(mode="json", by_alias=True)
    writable = {field.alias or name for name, field in ExternalBody.model_fields.items()}
    return ExternalBody.model_validate({name: value for name, value in shown.items() if name in writable})


@router.patch("/externals/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def patch_external(
    fid: str,
    patch: Annotated[MergePatch, merge_patch(ExternalBody)],
    expected: IfMatch,
    services: ServicesOf,
    response: Response,
    to_server: ToServer = False,
) -> Envelope[ExternalOut]:
    """Change an External by a merge patch; running tasks keep the version they started with."""
    return answer(response, await _changed(services, fid, expected, patch, to_server=to_server))


@router.put("/externals/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def put_external(
    fid: str,
    body: ExternalBody,
    expected: IfMatch,
    services: ServicesOf,
    response: Response,
    to_server: ToServer = False,
) -> Envelope[ExternalOut]:
    """Replace an External's definition; omitted fields are reset to their defaults."""
    return answer(response, await _changed(services, fid, expected, body, to_server=to_server))


@router.delete("/externals/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412))
async def delete_external(
    fid: str,
    expected: IfMatch,
    services: ServicesOf,
    cascade: Annotated[bool, Query(description="Delete its crawlers too, with their tasks and documents.")] = False,
) -> Envelope[None]:
    """Delete an External; while a crawler uses it, only with `cascade`."""
    await deletion.delete_external(
        services.db, fid, cascade=cascade, expected=expected, vault=services.vault, at=services.clock()
    )
    return Envelope(payload=None)
