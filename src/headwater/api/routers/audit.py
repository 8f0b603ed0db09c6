"""The audit log: who did what to which object when."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.auth import ADMINISTERS
from headwater.api.dependencies import ServicesOf
from headwater.api.query_params import Moment
from headwater.api.responses import EXAMPLE_FID, Cursor, Limit, Listing, listing, position_of
from headwater.catalog import audit
from headwater.catalog.audit import Entry, Wanted
from headwater.domain.task import Origin

router = routing.router("audit")


class ObjectRef(BaseModel):
    """A reference to an object, as in links."""

    type: str = Field(description="The plural path name.", examples=["tasks"])
    fid: str | None = Field(examples=[EXAMPLE_FID])


class AuditOut(BaseModel):
    """An entry of the audit log: somebody changed something."""

    fid: str = Field(examples=[EXAMPLE_FID])
    at: datetime = Field(examples=["2026-03-01T12:00:00.000000Z"])
    key: str | None = Field(
        description="The fid of the API key; null for what was done on the server itself.", examples=[EXAMPLE_FID]
    )
    name: str = Field(
        description="What the key was called; `cli` for a command on the server, `first start` for the first key.",
        examples=["nightly"],
    )
    origin: Origin = Field(description="As of a task.", examples=["api"])
    action: str = Field(description="The `operationId` of the call.", examples=["delete_task"])
    object: ObjectRef | None = Field(description="What was made, changed or deleted.")
    request_id: str | None = Field(description="Stands in the server's log, too.", examples=["5f2c9a1b7e3d4c60"])
    detail: dict[str, Any] = Field(
        description="What one needs to understand it; no secrets.",
        examples=[{"stream": EXAMPLE_FID, "stream_version": 17}],
    )

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Return an entry in the form of the API."""
        about = None if entry.object_type is None else ObjectRef(type=entry.object_type, fid=entry.object_fid)
        names = cls.model_fields.keys() - {"object"}
        return cls(object=about, **{name: getattr(entry, name) for name in names})


@router.get("/audit", dependencies=[ADMINISTERS])
async def list_audit(
    services: ServicesOf,
    request: Request,
    response: Response,
    key: Annotated[str | None, Query(description="Only what was done with the key that has this fid.")] = None,
    action: Annotated[str | None, Query(description="Only this action, such as `delete_task`.")] = None,
    type: Annotated[  # noqa: A002 - the name in the API
        str | None, Query(description="Only objects of this type, such as `streams`.")
    ] = None,
    object: Annotated[  # noqa: A002 - the name in the API
        str | None, Query(description="Only the object with this fid.")
    ] = None,
    since: Annotated[Moment | None, Query(description="Only then or later.")] = None,
    until: Annotated[Moment | None, Query(description="Only before.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[AuditOut]:
    """List who did what to which object, newest first.

    An entry is written in the transaction of the change; calls that change nothing have none. Uploads and status
    reports of running tasks are not audited: see the stream's log and the task.
    """
    wanted = Wanted(key=key, action=action, object_type=type, object_fid=object, since=since, until=until)
    page = await services.db.read(audit.page, wanted, before=position_of(cursor, str), limit=limit)
    last = page[-1].fid if page else None
    return listing(request, response, [AuditOut.of(entry) for entry in page], limit=limit, last=last)
