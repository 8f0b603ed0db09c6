"""Whether this Headwater is alive, and ready."""

import structlog
from fastapi import APIRouter
from pydantic import BaseModel

from headwater.api.envelope import Envelope
from headwater.api.openapi import fails
from headwater.api.parts import Backend
from headwater.domain.errors import Unavailable

router = APIRouter(tags=["health"])

log = structlog.get_logger(__name__)


class Health(BaseModel):
    """What answers."""

    alive: bool = True


class Readiness(BaseModel):
    """What answers."""

    database: bool
    store: bool
    engine: bool


@router.get("/healthz")
async def healthz() -> Envelope[Health]:
    """Tell that the process is alive."""
    return Envelope(payload=Health())


@router.get("/readyz", responses=fails(503))
async def readyz(backend: Backend) -> Envelope[Readiness]:
    """Tell whether the database answers and takes writes, the store takes files, and the engine answers."""
    silent = await backend.doctor.silent()
    for name, fault in silent.items():
        log.error("readyz.silent", part=name, exc_info=fault)
    if silent:
        raise Unavailable(f"{', '.join(silent)} does not answer; the log says why", retry_after=5)
    return Envelope(payload=Readiness(database=True, store=True, engine=True))
