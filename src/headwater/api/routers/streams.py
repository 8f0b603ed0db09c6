"""Streams as objects: create, list, read, change, delete."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import Query, Request, Response, status
from pydantic import BaseModel, Field

from headwater.api import key_limits, routing
from headwater.api.auth import READS, WRITES, Reader
from headwater.api.dependencies import ServicesOf
from headwater.api.openapi import fails
from headwater.api.query_params import FidPrefix
from headwater.api.request_bodies import IfMatch, MergePatch, Meta, NewMeta, RequestBody, merge_patch, patched
from headwater.api.responses import Cursor, Envelope, Limit, Listing, ObjectOut, answer, common, listing, position_of
from headwater.catalog import crawlers, links, objects, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.domain.ids import new_fid
from headwater.domain.stream import Stream
from headwater.domain.task import Task, TaskState
from headwater.lifecycle import deletion

router = routing.router("streams")

UndoDays = Annotated[
    int | None,
    Field(
        ge=1,
        le=36_500,
        description="For how many days a run can be undone, and older versions of the stream read; null forever. Of "
        "older runs, only the current versions of documents are kept.",
        examples=[90],
    ),
]


class NewStream(RequestBody):
    """A stream to create."""

    meta: NewMeta = Field(default_factory=NewMeta, examples=[{"name": "Product reviews"}])
    undo_days: UndoDays = None


class StreamBody(RequestBody):
    """The writable fields of a stream."""

    meta: Meta = Field(default_factory=Meta)
    undo_days: UndoDays = None


class StreamStatus(BaseModel):
    """The status of the crawler's latest task."""

    code: int
    state: TaskState
    message: str | None
    detail: Any
    task: str
    at: datetime

    @classmethod
    def of(cls, task: Task) -> Self:
        """Return the status of a stream whose latest task this is."""
        return cls(
            code=task.code,
            state=task.state,
            message=task.message,
            detail=task.detail,
            task=task.fid,
            at=task.ended_at or task.heard_at or task.started_at,
        )


class StreamOut(ObjectOut):
    """A named, versioned collection of documents, fed by one crawler."""

    stream_version: int = Field(description="Grows by one with each change of what the stream shows.", examples=[12])
    docs: int = Field(description="Number of current documents as of `docs_version`.", examples=[2400])
    docs_version: int = Field(description="The stream version at which `docs` was counted.", examples=[12])
    oldest_version: int = Field(
        description="The first stream version that can still be read; older ones are purged.", examples=[1]
    )
    undo_days: int | None = Field(description="For how many days a run can be undone; null forever.", examples=[None])
    settled_at: datetime | None = Field(
        description="Runs that ended by then are settled: they cannot be undone; null if none is.", examples=[None]
    )
    status: StreamStatus | None = Field(description="Of its crawler's latest task; null before the first.")


def _out(tx: Transaction, found: list[Stream]) -> list[StreamOut]:
    latest = tasks.latest_of(tx, [stream.fid for stream in found])
    return [
        StreamOut(
            **common(stream, "streams"),
            stream_version=stream.stream_version,
            docs=stream.docs,
            docs_version=stream.docs_version,
            oldest_version=stream.purged_version,
            undo_days=stream.undo_days,
            settled_at=stream.settled_at,
            status=StreamStatus.of(latest[stream.fid]) if stream.fid in latest else None,
        )
        for stream in found
    ]


@router.post("/streams", status_code=status.HTTP_201_CREATED, dependencies=[WRITES], responses=fails(415))
async def create_stream(body: NewStream, services: ServicesOf, response: Response) -> Envelope[StreamOut]:
    """Create a stream."""

    def create(tx: Transaction, at: datetime) -> StreamOut:
        stream = Stream(
            fid=new_fid(at),
            stream_version=0,
            top_layer=0,
            docs=0,
            docs_version=0,
            purged_version=0,
            undo_days=body.undo_days,
            created_at=at,
            updated_at=at,
            version=1,
            meta=body.meta.kept(),
        )
        links.add(tx, body.meta.links_of("streams", stream.fid), known=stream.fid)
        return _out(tx, [objects.add(tx, STREAMS, stream)])[0]

    made = await services.db.write(create, services.clock())
    response.headers["Location"] = f"/streams/{made.fid}"
    return answer(response, made)


@router.get("/streams")
async def list_streams(
    key: Reader,
    services: ServicesOf,
    request: Request,
    response: Response,
    crawler: Annotated[str | None, Query(description="Only the one that this crawler feeds.")] = None,
    name: Annotated[str | None, Query(description="Only those whose `meta.name` is this.")] = None,
    fid: FidPrefix = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[StreamOut]:
    """List streams, newest first."""
    where = {field: value for field, value in {"name": name, "fid": fid}.items() if value is not None}
    after = position_of(cursor, str)

    def read(tx: Transaction) -> list[StreamOut]:
        among = None if crawler is None else crawlers.streams_of(crawler)
        return _out(
            tx,
            objects.page(
                tx, STREAMS, where=where, after=after, limit=limit, among=among, within=key_limits.within(key, STREAMS)
            ),
        )

    page = await services.db.read(read)
    return listing(request, response, page, limit=limit, last=page[-1].fid if page else None)


@router.get("/streams/{fid}", dependencies=[READS], responses=fails(404))
async def get_stream(fid: str, services: ServicesOf, response: Response) -> Envelope[StreamOut]:
    """Read a stream."""
    return answer(response, await services.db.read(lambda tx: _out(tx, [objects.get(tx, STREAMS, fid)])[0]))


def _change(
    tx: Transaction, fid: str, expected: frozenset[int] | None, body: StreamBody | dict[str, Any], at: datetime
) -> StreamOut:
    old = objects.get(tx, STREAMS, fid, lock=True)
    objects.require_version(old, expected)
    if isinstance(body, dict):
        body = patched(StreamBody.model_validate({"meta": old.meta, "undo_days": old.undo_days}), body)
    new = replace(old, meta=body.meta.kept(), undo_days=body.undo_days, **objects.edited(at, old.version))
    return _out(tx, [objects.save(tx, STREAMS, old, new)])[0]


@router.patch("/streams/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def patch_stream(
    fid: str,
    patch: Annotated[MergePatch, merge_patch(StreamBody)],
    expected: IfMatch,
    services: ServicesOf,
    response: Response,
) -> Envelope[StreamOut]:
    """Change a stream by a merge patch."""
    return answer(response, await services.db.write(_change, fid, expected, patch, services.clock()))


@router.put("/streams/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def put_stream(
    fid: str, body: StreamBody, expected: IfMatch, services: ServicesOf, response: Response
) -> Envelope[StreamOut]:
    """Replace the writable fields of a stream; omitted ones are reset to their defaults."""
    return answer(response, await services.db.write(_change, fid, expected, body, services.clock()))


@router.delete("/streams/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412))
async def delete_stream(
    fid: str,
    expected: IfMatch,
    services: ServicesOf,
    cascade: Annotated[bool, Query(description="Delete its crawler too, with its tasks and documents.")] = False,
) -> Envelope[None]:
    """Delete a stream; while a crawler feeds it, only with `cascade`."""
    await deletion.delete_stream(
        services.db, fid, cascade=cascade, expected=expected, vault=services.vault, at=services.clock()
    )
    return Envelope(payload=None)
