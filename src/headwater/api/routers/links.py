"""Links of an object to other objects."""

from typing import Annotated

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.auth import READS
from headwater.api.dependencies import ServicesOf
from headwater.api.openapi import fails
from headwater.api.request_bodies import LinkEnd
from headwater.api.responses import Cursor, Limit, Listing, listing, position_of
from headwater.catalog import links, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.links import End, Link
from headwater.domain.errors import NotFound

router = routing.router("links")


class LinkOut(BaseModel):
    """A link between two objects."""

    start: LinkEnd = Field(alias="from")
    end: LinkEnd = Field(alias="to")


@router.get("/links", dependencies=[READS], responses=fails(404))
async def list_links(
    services: ServicesOf,
    request: Request,
    response: Response,
    fid: Annotated[str, Query(description="The object around which to look.")],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[LinkOut]:
    """List the links of an object: what it is built on, what is built on it, and what was linked by hand."""
    after = position_of(cursor, int) or 0

    def read(tx: Transaction) -> list[Link]:
        if not any(objects.find(tx, kind, fid) for kind in objects.KINDS.values()):
            raise NotFound(f"there is no object {fid!r}")
        return links.around(tx, fid, after=after, limit=limit)

    page = [
        LinkOut.model_validate({"from": _end(link.start), "to": _end(link.end)})
        for link in await services.db.read(read)
    ]
    return listing(request, response, page, limit=limit, last=after + len(page))


def _end(end: End) -> dict[str, str]:
    return {"type": end.type, "fid": end.fid}
