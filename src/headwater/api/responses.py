"""Response models and bodies: envelope, pages, cursors, verbatim documents."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from headwater.catalog.objects import RelationalObject
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.ids import is_fid
from headwater.lake.engine import Found
from headwater.lake.integrity import Skipped

T = TypeVar("T")

#: An id in examples.
EXAMPLE_FID = "0197f3a0c1d27000a1b2c3d4e5f60718"


class Envelope(BaseModel, Generic[T]):
    """A successful response."""

    success: bool = True
    payload: T
    version: int = Field(default=0, description="The edit counter of the object in `payload`, or 0.")


class Listing(BaseModel, Generic[T]):
    """A page of a list."""

    success: bool = True
    payload: list[T]
    version: int = 0
    next_cursor: str | None = Field(default=None, description="`cursor` of the next page; null on the last.")


class ObjectOut(BaseModel):
    """The fields of every relational object."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    fid: str = Field(description="UUIDv7, 32 hex digits.", examples=[EXAMPLE_FID])
    type: str = Field(description="The plural path name.", examples=["tasks"])
    version: int = Field(description="Grows with each edit; also the strong `ETag`.", examples=[7])
    created_at: datetime = Field(examples=["2026-03-01T12:00:00.000000Z"])
    updated_at: datetime = Field(examples=["2026-03-01T12:30:00.000000Z"])
    meta: dict[str, Any] = Field(
        description="`name`, `description`, `image`, and whatever else the caller keeps here.",
        examples=[{"name": "Product reviews"}],
    )


def common(value: RelationalObject, kind: str) -> dict[str, Any]:
    """Return the fields of every relational object."""
    names = ("fid", "version", "created_at", "updated_at", "meta")
    return {"type": kind, **{name: getattr(value, name) for name in names}}


O = TypeVar("O", bound=ObjectOut)  # noqa: E741 - an object


def answer(response: Response, payload: O) -> Envelope[O]:
    """Wrap an object, and set the ``ETag`` header to its version."""
    response.headers["ETag"] = f'"{payload.version}"'
    return Envelope(payload=payload, version=payload.version)


Limit = Annotated[int, Query(ge=1, le=1000, description="Objects on a page.")]
Cursor = Annotated[
    str | None, Query(description="`next_cursor` of the page before.", json_schema_extra={"format": "cursor"})
]


def listing(request: Request, response: Response, payload: Sequence[T], *, limit: int, last: object) -> Listing[T]:
    """Wrap a page; if it is full, the next one starts after ``last``."""
    following = None if len(payload) < limit else cursor_for(last)
    link_next(request, response, following)
    return Listing(payload=list(payload), next_cursor=following)


def link_next(request: Request, response: Response, following: str | None) -> None:
    """Set the ``Link`` header of the next page (RFC 8288), relative to this one: a proxy may serve it below a path."""
    if following is not None:
        response.headers["Link"] = f'<?{request.url.include_query_params(cursor=following).query}>; rel="next"'


_FIRST_TOO_HIGH = 1 << 62


def cursor_for(position: object) -> str:
    """Return an opaque cursor for a position: any JSON."""
    return base64.urlsafe_b64encode(json.dumps(position, ensure_ascii=False).encode()).decode().rstrip("=")


def _is_sound(position: object) -> bool:
    """Return whether a position is plausible: ids of objects, and numbers in the range of databases."""
    match position:
        case bool():
            return False
        case str():
            return is_fid(position)
        case int():
            return 0 <= position < _FIRST_TOO_HIGH
        case [str() as doc_id]:
            return _is_text(doc_id)
        case [str() as doc_id, int() as version] if not isinstance(version, bool):
            return _is_text(doc_id) and 0 <= version < _FIRST_TOO_HIGH
        case _:
            return False


def _is_text(doc_id: str) -> bool:
    try:
        doc_id.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def position_of(cursor: str | None, kind: type[T]) -> T | None:
    """Return the position of a cursor.

    Raises:
        RequestInvalid: the cursor is malformed.
    """
    if not cursor:
        return None
    try:
        position: object = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=="))
    except (ValueError, RecursionError):
        position = None
    if not isinstance(position, kind) or not _is_sound(position):
        detail = "the cursor is not valid for this list; omit it to start with the first page"
        raise RequestInvalid(detail, flaws=[Flaw(pointer="?cursor", detail=detail)])
    return position


#: Names the damaged segments that were skipped, ...
SKIPPED = "Headwater-Skipped-Segments"
#: ... at most this many, as headers must be short. The body names all.
MOST_NAMED = 50


class DocumentOut(BaseModel):
    """A document of a stream or task."""

    id: str = Field(examples=["sku-1"])
    task: str = Field(description="The task that wrote this version of it.", examples=[EXAMPLE_FID])
    doc: dict[str, Any] = Field(description="As it was uploaded.", examples=[{"sku": "sku-1", "price": 12.5}])


class SkippedOut(BaseModel):
    """A damaged segment that was skipped."""

    segment: str = Field(examples=[EXAMPLE_FID])
    task: str | None = Field(
        description="The task whose documents are in it; null if they are of many.", examples=[EXAMPLE_FID]
    )


class DocumentsOut(Listing[DocumentOut]):
    """A page of a stream's documents."""

    stream_version: int = Field(description="The stream version that is shown.", examples=[12])
    skipped_segments: list[SkippedOut] | None = Field(
        default=None, description="With `skip_damaged`: the damaged segments that were left out.", examples=[[]]
    )


def raw(text: str) -> msgspec.Raw:
    """Return a document's text as part of a response."""
    return msgspec.Raw(text.rstrip().encode())


def shown(found: Found) -> dict[str, object]:
    """Return a document, for ``answer_of`` or ``listing_of``."""
    return {"id": found.id, "task": found.task, "doc": raw(found.text)}


def answer_of(payload: object, *, skipped: Skipped | None = None) -> Response:
    """Return a response with documents in it."""
    body = {"success": True, "payload": payload, "version": 0} | members_of(skipped)
    return _json(body, headers=headers_of(skipped))


def listing_of(
    request: Request,
    payload: Sequence[object],
    following: str | None,
    *,
    skipped: Skipped | None = None,
    **more: object,
) -> Response:
    """Return a page of a list with documents in it; ``following`` is the cursor of the next page."""
    body = {"success": True, "payload": payload, "version": 0, "next_cursor": following} | more | members_of(skipped)
    response = _json(body, headers=headers_of(skipped))
    link_next(request, response, following)
    return response


def headers_of(skipped: Skipped | None) -> dict[str, str]:
    """Return the header that names skipped damaged segments, if there are any."""
    fids = [segment.fid for segment in skipped or ()]
    return {SKIPPED: ", ".join(fids[:MOST_NAMED])} if fids else {}


def members_of(skipped: Skipped | None) -> dict[str, object]:
    """Return the members of a body that name skipped damaged segments, if the caller asked to skip them."""
    if skipped is None:
        return {}
    return {"skipped_segments": [{"segment": segment.fid, "task": segment.task} for segment in skipped]}


def _json(body: dict[str, object], *, headers: dict[str, str]) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json", headers=headers)
