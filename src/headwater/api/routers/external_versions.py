"""Versions of an External: list and publish."""

from datetime import datetime
from typing import Annotated

from fastapi import Request, Response
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.auth import READS, WRITES
from headwater.api.dependencies import ServicesOf
from headwater.api.openapi import fails
from headwater.api.request_bodies import HIGHEST_EDIT, WHOLE, IfMatch, RequestBody
from headwater.api.responses import Cursor, Envelope, Limit, Listing, answer, listing, position_of
from headwater.api.routers.externals import ExternalOut
from headwater.catalog import externals, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import EXTERNALS
from headwater.catalog.vault import Vault

router = routing.router("externals")


class ExternalVersionOut(BaseModel):
    """A version of an External; `GET /externals/{fid}?version=` returns it."""

    version: int = Field(examples=[5])
    created_at: datetime = Field(
        description="When it was made; of one that is older than this field, at the latest.",
        examples=["2026-03-01T12:00:00.000000Z"],
    )
    published: bool = Field(description="Whether it is the one that crawlers run with.", examples=[False])


class PublishBody(RequestBody):
    """The version that crawlers are to run with."""

    version: Annotated[int, Field(ge=1, le=HIGHEST_EDIT), WHOLE] | None = Field(
        description="Null takes the mark away: crawlers run with the newest.", examples=[5]
    )


@router.get("/externals/{fid}/versions", dependencies=[READS], responses=fails(404))
async def list_versions(
    fid: str, services: ServicesOf, request: Request, response: Response, limit: Limit = 50, cursor: Cursor = None
) -> Listing[ExternalVersionOut]:
    """List the versions of an External, newest first."""
    before = position_of(cursor, int)

    def read(tx: Transaction) -> list[ExternalVersionOut]:
        published = objects.get(tx, EXTERNALS, fid).published
        return [
            ExternalVersionOut(version=each.version, created_at=each.created_at, published=each.version == published)
            for each in externals.versions(tx, fid, before=before, limit=limit)
        ]

    page = await services.db.read(read)
    return listing(request, response, page, limit=limit, last=page[-1].version if page else None)


def _publish(
    tx: Transaction, fid: str, expected: frozenset[int] | None, version: int | None, *, vault: Vault, at: datetime
) -> ExternalOut:
    external = objects.get(tx, EXTERNALS, fid, lock=True)
    objects.require_version(external, expected)
    return ExternalOut.of(externals.publish(tx, external, version, at=at), vault)


@router.post("/actions/externals/{fid}/publish", dependencies=[WRITES], responses=fails(404, 412, 415))
async def publish_external(
    fid: str, body: PublishBody, expected: IfMatch, services: ServicesOf, response: Response
) -> Envelope[ExternalOut]:
    """Publish a version of an External for its crawlers, while its developer edits the next one.

    Running tasks keep the version they started with. Publishing is not an edit: it creates no version, and
    `version` and `ETag` stay. With `If-Match`, it fails if the External was edited meanwhile.
    """
    published = await services.db.write(
        _publish, fid, expected, body.version, vault=services.vault, at=services.clock()
    )
    return answer(response, published)
