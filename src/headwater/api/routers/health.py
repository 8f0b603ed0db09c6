"""Liveness and readiness probes."""

import structlog
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.dependencies import ServicesOf
from headwater.api.openapi import fails
from headwater.api.responses import Envelope
from headwater.domain.errors import Unavailable
from headwater.domain.software_version import software_version

router = routing.router("health")

log = structlog.get_logger(__name__)


class Health(BaseModel):
    """The liveness response."""

    alive: bool = True
    version: str = Field(description="Of the server.", examples=["0.1.0"])


class Readiness(BaseModel):
    """The readiness response."""

    database: bool
    store: bool
    engine: bool
    damaged_segments: int = Field(
        description="Segments that were found damaged and are not repaired; reads of them are refused, all else works."
    )


@router.get("/healthz")
async def healthz() -> Envelope[Health]:
    """Report that the process is alive."""
    return Envelope(payload=Health(version=software_version()))


@router.get("/readyz", responses=fails(503))
async def readyz(services: ServicesOf) -> Envelope[Readiness]:
    """Report whether the database can be read and written, the store takes files, and the engine responds.

    The background loops of the responding process count, too: one that keeps failing makes it unready.
    """
    silent = await services.readiness.failures()
    for name, fault in silent.items():
        log.error("readyz.silent", part=name, exc_info=fault)
    if silent:
        raise Unavailable(f"{', '.join(silent)} does not answer or fails; the log says why", retry_after=5)
    damaged = (await services.catalog_gauges.collect()).damaged_segments
    return Envelope(payload=Readiness(database=True, store=True, engine=True, damaged_segments=damaged))
