"""Externals: register a crawler, and describe it anew."""

import re
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Self, cast
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, field_validator

from headwater.api.auth import READS, WRITES
from headwater.api.bodies import HIGHEST_EDIT, IfMatch, MergePatch, Meta, NewMeta, RequestBody, merge_patch, patched
from headwater.api.envelope import Cursor, Envelope, Limit, Listing, ObjectOut, answer, common, listing, position_of
from headwater.api.openapi import fails
from headwater.api.parts import Backend
from headwater.catalog import externals, links, objects
from headwater.catalog.objects import EXTERNALS
from headwater.catalog.transaction import Transaction
from headwater.domain.external import CredentialType, Definition, External, check_definition
from headwater.domain.fid import new_fid
from headwater.domain.parameter import Parameter
from headwater.lifecycle import removal

router = APIRouter(tags=["externals"])

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
    """Refuse what would be taken for a number or a boolean, and is none in JSON."""
    if not isinstance(value, dict):
        return value
    said = cast("dict[str, object]", value)
    strangers = [name for name in ("min", "max") if isinstance(said.get(name), bool | str)]
    if strangers:
        raise ValueError(f"{strangers[0]} is a number, or null")
    if "req" in said and not isinstance(said["req"], bool):
        raise ValueError("req is true or false")
    return said


class ExternalFields(RequestBody):
    """What an External's developer says of it."""

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
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Sent with each request to the EC.",
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

    def definition(self) -> Definition:
        """Return what is said, checked.

        Raises:
            SchemaInvalid: schema, parameters or login do not hold together.
        """
        definition = Definition(
            endpoint=self.endpoint,
            credential=self.credential,
            oauth=self.oauth,
            oauth_parameters=self.oauth_parameters,
            schema=self.json_schema,
            doc_id_field=self.doc_id_field,
            headers=self.headers,
            parameters=tuple(self.parameters),
            analysis=self.analysis,
        )
        check_definition(definition)
        return definition


class NewExternal(ExternalFields):
    """An External to register."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    meta: NewMeta = Field(default_factory=NewMeta)


class ExternalBody(ExternalFields):
    """What of an External can be written."""

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
    headers: dict[str, str]
    parameters: list[Parameter]
    analysis: dict[str, Any] | None
    published: int | None = Field(
        description="The version that crawlers run with; null means always the newest. `publish` sets it.",
        examples=[4],
    )

    @classmethod
    def of(cls, external: External) -> Self:
        """Return an External as callers see it."""
        said = external.definition
        return cls(
            **common(external, "externals"),
            endpoint=said.endpoint,
            credential=said.credential,
            oauth=said.oauth,
            oauthParameters=said.oauth_parameters,
            schema=said.schema,
            docIdField=said.doc_id_field,
            headers=said.headers,
            parameters=list(said.parameters),
            analysis=said.analysis,
            published=external.published,
        )


@router.post("/externals", status_code=status.HTTP_201_CREATED, dependencies=[WRITES], responses=fails(415))
async def create_external(body: NewExternal, backend: Backend, response: Response) -> Envelope[ExternalOut]:
    """Register an External."""

    def create(tx: Transaction, at: datetime) -> ExternalOut:
        fid = new_fid(at)
        links.add(tx, body.meta.links_of("externals", fid), known=fid)
        external = External(
            fid=fid, definition=definition, created_at=at, updated_at=at, version=1, meta=body.meta.kept()
        )
        return ExternalOut.of(objects.add(tx, EXTERNALS, external))

    definition = body.definition()
    made = await backend.db.write(create, backend.clock())
    response.headers["Location"] = f"/externals/{made.fid}"
    return answer(response, made)


@router.get("/externals", dependencies=[READS])
async def list_externals(
    backend: Backend,
    request: Request,
    response: Response,
    name: Annotated[str | None, Query(description="Only those whose `meta.name` is this.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[ExternalOut]:
    """List Externals, newest first."""
    where = {} if name is None else {"name": name}
    page = await backend.db.read(objects.page, EXTERNALS, where=where, after=position_of(cursor, str), limit=limit)
    last = page[-1].fid if page else None
    return listing(request, response, [ExternalOut.of(external) for external in page], limit=limit, last=last)


@router.get("/externals/{fid}", dependencies=[READS], responses=fails(404))
async def get_external(
    fid: str,
    backend: Backend,
    response: Response,
    version: Annotated[
        int | None,
        Query(ge=1, le=HIGHEST_EDIT, description="As it was described at that version; the newest otherwise."),
    ] = None,
) -> Envelope[ExternalOut]:
    """Read an External, as it is or as it was described at a version.

    Of a former version, `updated_at` tells when it was made; `meta` and `published` are those of now.
    """
    if version is None:
        external = await backend.db.read(objects.get, EXTERNALS, fid)
    else:
        external = await backend.db.read(externals.at, fid, version)
    return answer(response, ExternalOut.of(external))


def _change(
    tx: Transaction, fid: str, expected: frozenset[int] | None, body: ExternalBody | dict[str, Any], at: datetime
) -> ExternalOut:
    old = objects.get(tx, EXTERNALS, fid, lock=True)
    objects.require_version(old, expected)
    if isinstance(body, dict):
        body = patched(_body(old), body)
    new = replace(old, definition=body.definition(), meta=body.meta.kept(), **objects.edited(at, old.version))
    return ExternalOut.of(objects.save(tx, EXTERNALS, old, new))


def _body(external: External) -> ExternalBody:
    shown = ExternalOut.of(external).model_dump(mode="json", by_alias=True)
    writable = {field.alias or name for name, field in ExternalBody.model_fields.items()}
    return ExternalBody.model_validate({name: value for name, value in shown.items() if name in writable})


@router.patch("/externals/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def patch_external(
    fid: str,
    patch: Annotated[MergePatch, merge_patch(ExternalBody)],
    expected: IfMatch,
    backend: Backend,
    response: Response,
) -> Envelope[ExternalOut]:
    """Change an External by a merge patch; tasks that run keep the version they began with."""
    return answer(response, await backend.db.write(_change, fid, expected, patch, backend.clock()))


@router.put("/externals/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def put_external(
    fid: str, body: ExternalBody, expected: IfMatch, backend: Backend, response: Response
) -> Envelope[ExternalOut]:
    """Describe an External anew; what is not sent goes back to its default."""
    return answer(response, await backend.db.write(_change, fid, expected, body, backend.clock()))


@router.delete("/externals/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412))
async def delete_external(
    fid: str,
    expected: IfMatch,
    backend: Backend,
    cascade: Annotated[bool, Query(description="Delete its crawlers too, with their tasks and documents.")] = False,
) -> Envelope[None]:
    """Delete an External; while a crawler uses it, only with `cascade`."""
    await backend.db.write(
        removal.remove_external, fid, cascade=cascade, expected=expected, vault=backend.vault, at=backend.clock()
    )
    return Envelope(payload=None)
