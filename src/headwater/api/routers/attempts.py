"""The attempts of a task."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.auth import READS
from headwater.api.dependencies import ServicesOf
from headwater.api.openapi import fails
from headwater.api.responses import Cursor, Limit, Listing, listing, position_of
from headwater.catalog import tasks
from headwater.catalog.vault import redact
from headwater.domain.task import Attempt, Reason, TaskState

router = routing.router("tasks")


class AttemptOut(BaseModel):
    """One attempt of a task; the current one as it is, former ones as they ended."""

    attempt: int = Field(description="1, 2, …", examples=[2])
    external_version: int = Field(description="The External's version that it ran with.", examples=[3])
    params: dict[str, Any] = Field(description="Passwords read as `********`.", examples=[{"language": "de"}])
    code: int = Field(examples=[500])
    state: TaskState = Field(examples=["failed"])
    reason: Reason | None = Field(description="Why it ended; null while it is open.", examples=["reported"])
    message: str | None = Field(examples=["the source is down"])
    detail: Any = Field(examples=[None])
    docs: int = Field(description="Documents that it uploaded.", examples=[250])
    bytes: int = Field(description="Their size, decompressed.", examples=[143250])
    uploads: int = Field(examples=[5])
    rejected: int = Field(examples=[0])
    deleted: int = Field(examples=[0])
    started_at: datetime = Field(examples=["2026-03-01T12:00:00.000000Z"])
    heard_at: datetime | None = Field(examples=["2026-03-01T12:29:58.000000Z"])
    ended_at: datetime | None = Field(examples=["2026-03-01T12:30:00.000000Z"])


def _out(attempt: Attempt) -> AttemptOut:
    return AttemptOut.model_validate(asdict(attempt) | {"params": redact(attempt.params)})


@router.get("/tasks/{fid}/attempts", dependencies=[READS], responses=fails(404))
async def list_attempts(
    fid: str, services: ServicesOf, request: Request, response: Response, limit: Limit = 50, cursor: Cursor = None
) -> Listing[AttemptOut]:
    """List a task's attempts, newest first: the current one, and those that were retried."""
    found = await services.db.read(tasks.attempts_of, fid, before=position_of(cursor, int), limit=limit)
    page = [_out(attempt) for attempt in found]
    return listing(request, response, page, limit=limit, last=page[-1].attempt if page else None)
