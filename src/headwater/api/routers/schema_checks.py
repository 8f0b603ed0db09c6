"""Schema checks: current documents validated against another schema, with nothing stored."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Self, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from headwater.api import routing
from headwater.api.auth import READS
from headwater.api.dependencies import Services, ServicesOf
from headwater.api.openapi import fails
from headwater.api.request_bodies import RequestBody
from headwater.api.responses import EXAMPLE_FID, Envelope
from headwater.catalog import crawlers, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import EXTERNALS
from headwater.domain.external import Definition, External
from headwater.ingest.schema_check import Example, Recheck
from headwater.ingest.validation import Checker
from headwater.streams.full_scan import Scan, scan_all

router = routing.router("externals")

T = TypeVar("T")

#: The status that nobody sees: the client has disconnected.
_CLIENT_GONE = 499


class CheckBody(RequestBody):
    """A schema to check."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"schema": {"required": ["sku"], "properties": {"price": {"type": "number"}}}}}
    )

    json_schema: dict[str, Any] | StrictBool | None = Field(
        alias="schema", description="JSON Schema, as the External's `schema` would be; null takes any object."
    )
    doc_id_field: str | None = Field(
        default=None, alias="docIdField", description="To try another one with it; absent, it is the External's."
    )

    def definition(self, present: Definition) -> Definition:
        """Return an External's definition with the proposed changes."""
        changed = replace(present, schema=self.json_schema)
        return replace(changed, doc_id_field=self.doc_id_field) if "doc_id_field" in self.model_fields_set else changed


class ExampleOut(BaseModel):
    """A document that would be rejected, with its first error."""

    id: str = Field(examples=["sku-9"])
    task: str = Field(description="The task that wrote it.", examples=[EXAMPLE_FID])
    pointer: str | None = Field(description="Where in the document, as a JSON pointer.", examples=["/price"])
    keyword: str | None = Field(description="The keyword of the schema that fails.", examples=["type"])
    schema_pointer: str | None = Field(
        description="Where it stands in the schema.", examples=["/properties/price/type"]
    )
    detail: str = Field(examples=["'abc' is not of type 'number'"])

    @classmethod
    def of(cls, example: Example) -> Self:
        """Return an example in the form of the API."""
        flaw = example.flaw
        return cls(
            id=example.id,
            task=example.task,
            pointer=flaw.pointer,
            keyword=flaw.keyword,
            schema_pointer=flaw.schema_pointer,
            detail=flaw.detail,
        )


class CheckedStreamOut(BaseModel):
    """The effect of the schema on the current documents of a stream."""

    stream: str = Field(examples=[EXAMPLE_FID])
    name: str | None = Field(examples=["Product reviews"])
    stream_version: int = Field(description="The version that was looked at.", examples=[17])
    documents: int = Field(description="That it shows.", examples=[12500])
    failing: int = Field(description="Of these, that would be refused.", examples=[3])
    renamed: int = Field(description="Of the others, that would have another id than they have.", examples=[0])
    examples: list[ExampleOut] = Field(description="The first ten that would be refused, in id order.")

    @classmethod
    def of(cls, checked: Scan[Recheck]) -> Self:
        """Return the result in the form of the API."""
        stream, found = checked.stream, checked.visitor
        return cls(
            stream=stream.fid,
            name=stream.meta.get("name"),
            stream_version=checked.version,
            documents=found.documents,
            failing=found.failing,
            renamed=found.renamed,
            examples=[ExampleOut.of(example) for example in found.examples],
        )


class CheckOut(BaseModel):
    """The effect of the schema on the current documents of an External's crawlers."""

    documents: int = Field(description="Of all streams together, as are the next two.", examples=[12500])
    failing: int = Field(examples=[3])
    renamed: int = Field(examples=[0])
    streams: list[CheckedStreamOut] = Field(description="The streams that the External's crawlers feed.")


@router.post(
    "/actions/externals/{fid}/check",
    dependencies=[READS],
    responses=fails(404, 415),
    response_model=Envelope[CheckOut],
)
async def check_external(
    fid: str, body: CheckBody, services: ServicesOf, request: Request
) -> Envelope[CheckOut] | Response:
    """Return which current documents would be rejected by a schema; nothing is stored.

    All visible documents of the External's crawlers are validated, as in an upload. That takes a few seconds
    per million; it is cancelled when the client disconnects.
    """
    found = await _while_connected(request, _check(services, fid, body))
    return Response(status_code=_CLIENT_GONE) if found is None else Envelope(payload=found)


async def _check(services: Services, fid: str, body: CheckBody) -> CheckOut:
    external, streams = await services.db.read(_fed_by, fid)
    definition = body.definition(external.definition)
    # In a thread, since a schema can be large. It is compiled once; the counts are separate for each stream.
    checker = await services.sandbox.run(partial(Checker, definition, external=external.name, sandbox=services.sandbox))
    checked: list[CheckedStreamOut] = []
    async with services.checks:
        for stream in streams:
            seen = await scan_all(services.reader, services.engine, stream, lambda: Recheck(checker))
            if seen is not None:
                checked.append(CheckedStreamOut.of(seen))
    return CheckOut(
        documents=sum(each.documents for each in checked),
        failing=sum(each.failing for each in checked),
        renamed=sum(each.renamed for each in checked),
        streams=checked,
    )


def _fed_by(tx: Transaction, fid: str) -> tuple[External, list[str]]:
    return objects.get(tx, EXTERNALS, fid), crawlers.fed_by(tx, fid)


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of work; None if the client disconnected, which cancels it."""
    doing = asyncio.ensure_future(work)
    going = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({doing, going}, return_when=asyncio.FIRST_COMPLETED)
        return await doing if doing.done() else None
    finally:
        for each in (doing, going):
            each.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await each


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
