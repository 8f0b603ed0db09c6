"""Reading streams: documents, the log, exports."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from headwater.api.auth import READS
from headwater.api.envelope import (
    EXAMPLE_FID,
    Cursor,
    Envelope,
    Limit,
    Listing,
    cursor_for,
    link_next,
    listing,
    position_of,
)
from headwater.api.openapi import fails
from headwater.api.parts import Backend
from headwater.catalog import objects, streams
from headwater.catalog.database import Transaction
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import RequestInvalid
from headwater.domain.stream import Change, LogEntry, Visibility
from headwater.lake.engine import Found

T = TypeVar("T")

router = APIRouter(tags=["reading"])

NDJSON = "application/x-ndjson"


class DocumentOut(BaseModel):
    """A document of a stream or task."""

    id: str = Field(examples=["sku-1"])
    task: str = Field(description="The task that wrote this version of it.", examples=[EXAMPLE_FID])
    doc: dict[str, Any] = Field(description="As it was uploaded.", examples=[{"sku": "sku-1", "price": 12.5}])


class LogOut(BaseModel):
    """What made a stream version."""

    version: int = Field(description="The stream version.", examples=[12])
    at: datetime = Field(examples=["2026-03-01T12:30:00.000000Z"])
    change: Change = Field(examples=["upload"])
    task: str = Field(examples=[EXAMPLE_FID])
    attempt: int = Field(examples=[1])
    docs: int = Field(description="Document versions that came in or went out.", examples=[50])


@router.get("/streams/{fid}/docs", dependencies=[READS], responses=fails(404), response_model=Listing[DocumentOut])
async def list_docs(fid: str, backend: Backend, request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List the current documents in id order.

    The pages that a cursor leads through are all of the stream version of the first one.
    """
    after, visibility = None, None
    position = cast("list[Any] | None", position_of(cursor, list))
    if position is not None:
        after, version = _pair(position, str)
        visibility = Visibility(version=version)
    page = await backend.reader.page(fid, visibility, after=after, limit=limit)
    following = None if page.next_after is None else cursor_for([page.next_after, page.version])
    return _documents(request, page.docs, following)


@router.get(
    "/streams/{fid}/docs/{doc_id:path}",
    dependencies=[READS],
    responses=fails(404),
    response_model=Envelope[DocumentOut],
)
async def get_doc(fid: str, doc_id: str, backend: Backend) -> Response:
    """Read a document as the stream shows it."""
    found = await backend.reader.one(fid, None, doc_id)
    return _json({"success": True, "payload": _shown(found), "version": 0})


@router.get("/streams/{fid}/log", dependencies=[READS], responses=fails(404))
async def list_log(
    fid: str, backend: Backend, request: Request, response: Response, limit: Limit = 50, cursor: Cursor = None
) -> Listing[LogOut]:
    """List what changed the stream, newest first."""
    before = position_of(cursor, int)

    def read(tx: Transaction) -> list[LogEntry]:
        objects.get(tx, STREAMS, fid)
        return streams.log(tx, fid, before=before, limit=limit)

    page = await backend.db.read(read)
    entries = [LogOut(**{name: getattr(entry, name) for name in LogOut.model_fields}) for entry in page]
    return listing(request, response, entries, limit=limit, last=page[-1].version if page else None)


@router.get(
    "/streams/{fid}/export",
    dependencies=[READS],
    responses=fails(404) | {200: {"content": {NDJSON: {"schema": {"type": "string"}}}}},
    response_class=StreamingResponse,
)
async def export(
    fid: str,
    backend: Backend,
    format: Annotated[Literal["ndjson"], Query(description="The form of the file.")] = "ndjson",  # noqa: A002 - the parameter's name on the wire
) -> StreamingResponse:
    """Export all current documents in id order, each exactly as it was uploaded."""
    stream = await backend.db.read(objects.get, STREAMS, fid)
    # Shown by the version that stands in the file's name, whatever happens meanwhile.
    pieces = await backend.reader.export(fid, Visibility(version=stream.stream_version))
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(stream.meta.get("name") or fid)).strip("-.") or fid
    return StreamingResponse(
        pieces,
        media_type=NDJSON,
        headers={"Content-Disposition": f'attachment; filename="{name}-v{stream.stream_version}.{format}"'},
    )


@router.get("/tasks/{fid}/docs", dependencies=[READS], responses=fails(404), response_model=Listing[DocumentOut])
async def list_task_docs(
    fid: str, backend: Backend, request: Request, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List the documents of a task's present attempt in order of arrival, whether the stream shows them or not."""
    position = cast("list[Any] | None", position_of(cursor, list))
    after = None if position is None else _pair(position, int)
    page = await backend.reader.arrivals(fid, after=after, limit=limit)
    return _documents(request, page.docs, None if page.next_after is None else cursor_for(page.next_after))


def _pair(position: list[Any], first: type[T]) -> tuple[T, int]:
    match position:
        case [one, int() as other] if isinstance(one, first) and abs(other) < 1 << 62:
            return one, other
        case _:
            raise RequestInvalid("the cursor is none that this list gave out; begin with the first page")


def _documents(request: Request, docs: Sequence[Found], following: str | None) -> Response:
    response = _json(
        {"success": True, "payload": [_shown(found) for found in docs], "version": 0, "next_cursor": following}
    )
    link_next(request, response, following)
    return response


def _shown(found: Found) -> dict[str, object]:
    # The text goes to the wire as it was uploaded, and is not parsed again.
    return {"id": found.id, "task": found.task, "doc": msgspec.Raw(found.text.rstrip().encode())}


def _json(body: dict[str, object]) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
