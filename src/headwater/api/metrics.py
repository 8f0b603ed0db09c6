"""What Prometheus scrapes: any worker tells of the whole server."""

import asyncio
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from headwater.api.auth import READS
from headwater.api.parts import Backend
from headwater.api.survey import families

router = APIRouter(tags=["health"])

_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The text format of Prometheus.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/metrics", dependencies=[READS], response_class=Response, responses=_TEXT)
async def metrics(backend: Backend) -> Response:
    """Tell Prometheus how much there is, and what has been counted: of all workers, whichever answers."""
    found = await backend.surveyor.figures()
    text = await asyncio.to_thread(backend.meters.exposition, families(found, at=backend.clock()))
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})
