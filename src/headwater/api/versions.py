"""The versions of an External: which there are, and which of them crawlers run with."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from headwater.api.auth import READS, WRITES
from headwater.api.bodies import HIGHEST_EDIT, WHOLE, IfMatch, RequestBody
from headwater.api.envelope import Cursor, Envelope, Limit, Listing, answer, listing, position_of
from headwater.api.externals import ExternalOut
from headwater.api.openapi import fails
from headwater.api.parts import Backend
from headwater.catalog import externals, objects
from headwater.catalog.objects import EXTERNALS
from headwater.catalog.transaction import Transaction

router = APIRouter(tags=["externals"])


class ExternalVersionOut(BaseModel):
    """A version of an External; `GET /externals/{fid}?version=` reads it."""

    version: int = Field(examples=[5])
    created_at: datetime = Field(
        description="When it was made; of one that is older than this field, at the latest.",
        examples=["2026-03-01T12:00:00.000000Z"],
    )
    published: bool = Field(description="Whether it is the one that crawlers run with.", examples=[False])


class PublishBody(RequestBody):
    """Which version crawlers are to run with."""

    version: Annotated[int, Field(ge=1, le=HIGHEST_EDIT), WHOLE] | None = Field(
        description="Null takes the mark away: crawlers run with the newest.", examples=[5]
    )


@router.get("/externals/{fid}/versions", dependencies=[READS], responses=fails(404))
async def list_versions(
    fid: str, backend: Backend, request: Request, response: Response, limit: Limit = 50, cursor: Cursor = None
) -> Listing[ExternalVersionOut]:
    """List the versions of an External, newest first."""
    before = position_of(cursor, int)

    def read(tx: Transaction) -> list[ExternalVersionOut]:
        published = objects.get(tx, EXTERNALS, fid).published
        return [
            ExternalVersionOut(version=each.version, created_at=each.created_at, published=each.version == published)
            for each in externals.versions(tx, fid, before=before, limit=limit)
        ]

    page = await backend.db.read(read)
    return listing(request, response, page, limit=limit, last=page[-1].version if page else None)


def _publish(
    tx: Transaction, fid: str, expected: frozenset[int] | None, version: int | None, at: datetime
) -> ExternalOut:
    external = objects.get(tx, EXTERNALS, fid, lock=True)
    objects.require_version(external, expected)
    return ExternalOut.of(externals.publish(tx, external, version, at=at))


@router.post("/actions/externals/{fid}/publish", dependencies=[WRITES], responses=fails(404, 412, 415))
async def publish_external(
    fid: str, body: PublishBody, expected: IfMatch, backend: Backend, response: Response
) -> Envelope[ExternalOut]:
    """Let crawlers run with a version of an External, while its developer goes on with the next.

    Tasks that run keep the version they began with. Publishing is no edit: it makes no version, and `version`
    and `ETag` stay. With `If-Match` it is done only if nobody has edited the External meanwhile.
    """
    return answer(response, await backend.db.write(_publish, fid, expected, body.version, backend.clock()))
