"""Streams as objects: create, list, read, change, delete."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, Field

from headwater.api.auth import READS, WRITES
from headwater.api.bodies import IfMatch, MergePatch, Meta, NewMeta, RequestBody, merge_patch, patched
from headwater.api.envelope import Cursor, Envelope, Limit, Listing, ObjectOut, answer, common, listing, position_of
from headwater.api.openapi import fails
from headwater.api.parts import Backend
from headwater.catalog import crawlers, links, objects, tasks
from headwater.catalog.objects import STREAMS
from headwater.catalog.transaction import Transaction
from headwater.domain.fid import new_fid
from headwater.domain.stream import Stream
from headwater.domain.task import Task, TaskState
from headwater.lifecycle import removal

router = APIRouter(tags=["streams"])


class NewStream(RequestBody):
    """A stream to create."""

    meta: NewMeta = Field(default_factory=NewMeta, examples=[{"name": "Product reviews"}])


class StreamBody(RequestBody):
    """What of a stream can be written."""

    meta: Meta = Field(default_factory=Meta)


class StreamStatus(BaseModel):
    """How the crawler's latest task stands."""

    code: int
    state: TaskState
    message: str | None
    detail: Any
    task: str
    at: datetime

    @classmethod
    def of(cls, task: Task) -> Self:
        """Return the status that a task gives its stream."""
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
            status=StreamStatus.of(latest[stream.fid]) if stream.fid in latest else None,
        )
        for stream in found
    ]


@router.post("/streams", status_code=status.HTTP_201_CREATED, dependencies=[WRITES], responses=fails(415))
async def create_stream(body: NewStream, backend: Backend, response: Response) -> Envelope[StreamOut]:
    """Create a stream."""

    def create(tx: Transaction, at: datetime) -> StreamOut:
        stream = Stream(
            fid=new_fid(at),
            stream_version=0,
            top_layer=0,
            docs=0,
            docs_version=0,
            purged_version=0,
            created_at=at,
            updated_at=at,
            version=1,
            meta=body.meta.kept(),
        )
        links.add(tx, body.meta.links_of("streams", stream.fid), known=stream.fid)
        return _out(tx, [objects.add(tx, STREAMS, stream)])[0]

    made = await backend.db.write(create, backend.clock())
    response.headers["Location"] = f"/streams/{made.fid}"
    return answer(response, made)


@router.get("/streams", dependencies=[READS])
async def list_streams(
    backend: Backend,
    request: Request,
    response: Response,
    crawler: Annotated[str | None, Query(description="Only the one that this crawler feeds.")] = None,
    name: Annotated[str | None, Query(description="Only those whose `meta.name` is this.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[StreamOut]:
    """List streams, newest first."""
    where = {} if name is None else {"name": name}
    after = position_of(cursor, str)

    def read(tx: Transaction) -> list[StreamOut]:
        among = None if crawler is None else crawlers.streams_of(crawler)
        return _out(tx, objects.page(tx, STREAMS, where=where, after=after, limit=limit, among=among))

    page = await backend.db.read(read)
    return listing(request, response, page, limit=limit, last=page[-1].fid if page else None)


@router.get("/streams/{fid}", dependencies=[READS], responses=fails(404))
async def get_stream(fid: str, backend: Backend, response: Response) -> Envelope[StreamOut]:
    """Read a stream."""
    return answer(response, await backend.db.read(lambda tx: _out(tx, [objects.get(tx, STREAMS, fid)])[0]))


def _change(
    tx: Transaction, fid: str, expected: frozenset[int] | None, body: StreamBody | dict[str, Any], at: datetime
) -> StreamOut:
    old = objects.get(tx, STREAMS, fid, lock=True)
    objects.require_version(old, expected)
    if isinstance(body, dict):
        body = patched(StreamBody.model_validate({"meta": old.meta}), body)
    new = replace(old, meta=body.meta.kept(), **objects.edited(at, old.version))
    return _out(tx, [objects.save(tx, STREAMS, old, new)])[0]


@router.patch("/streams/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def patch_stream(
    fid: str,
    patch: Annotated[MergePatch, merge_patch(StreamBody)],
    expected: IfMatch,
    backend: Backend,
    response: Response,
) -> Envelope[StreamOut]:
    """Change a stream by a merge patch."""
    return answer(response, await backend.db.write(_change, fid, expected, patch, backend.clock()))


@router.put("/streams/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def put_stream(
    fid: str, body: StreamBody, expected: IfMatch, backend: Backend, response: Response
) -> Envelope[StreamOut]:
    """Overwrite what of a stream can be written; what is not sent goes back to its default."""
    return answer(response, await backend.db.write(_change, fid, expected, body, backend.clock()))


@router.delete("/streams/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412))
async def delete_stream(
    fid: str,
    expected: IfMatch,
    backend: Backend,
    cascade: Annotated[bool, Query(description="Delete its crawler too, with its tasks and documents.")] = False,
) -> Envelope[None]:
    """Delete a stream; while a crawler feeds it, only with `cascade`."""
    await backend.db.write(
        removal.remove_stream, fid, cascade=cascade, expected=expected, vault=backend.vault, at=backend.clock()
    )
    return Envelope(payload=None)
