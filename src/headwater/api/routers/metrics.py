"""The Prometheus endpoint; any worker reports the metrics of the whole server."""

import asyncio
from typing import Any

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST

from headwater.api import routing
from headwater.api.auth import READS
from headwater.api.dependencies import ServicesOf
from headwater.api.monitoring.gauges import metric_families

router = routing.router("health")

_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The text format of Prometheus.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/metrics", dependencies=[READS], response_class=Response, responses=_TEXT)
async def metrics(services: ServicesOf) -> Response:
    """Return the metrics of the whole server, in the text format of Prometheus."""
    found = await services.catalog_gauges.collect()
    text = await asyncio.to_thread(services.metrics.exposition, metric_families(found, at=services.clock()))
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})
