"""The form of every answer: the envelope, the fields that all objects have, pages and their cursors."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from headwater.catalog.objects import RelationalObject
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.fid import is_fid

T = TypeVar("T")

#: An id in examples.
EXAMPLE_FID = "0197f3a0c1d27000a1b2c3d4e5f60718"


class Envelope(BaseModel, Generic[T]):
    """A success."""

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
    """The fields that every relational object has."""

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
    """Return the fields that every relational object has."""
    names = ("fid", "version", "created_at", "updated_at", "meta")
    return {"type": kind, **{name: getattr(value, name) for name in names}}


O = TypeVar("O", bound=ObjectOut)  # noqa: E741 - an object


def answer(response: Response, payload: O) -> Envelope[O]:
    """Wrap an object, and say its version as ``ETag``."""
    response.headers["ETag"] = f'"{payload.version}"'
    return Envelope(payload=payload, version=payload.version)


Limit = Annotated[int, Query(ge=1, le=1000, description="Objects on a page.")]
Cursor = Annotated[
    str | None, Query(description="`next_cursor` of the page before.", json_schema_extra={"format": "cursor"})
]


def listing(request: Request, response: Response, payload: Sequence[T], *, limit: int, last: object) -> Listing[T]:
    """Wrap a page; ``last`` is what the next one begins behind, if this one is full."""
    following = None if len(payload) < limit else cursor_for(last)
    link_next(request, response, following)
    return Listing(payload=list(payload), next_cursor=following)


def link_next(request: Request, response: Response, following: str | None) -> None:
    """Say where the next page is in a ``Link`` header (RFC 8288)."""
    if following is not None:
        url = request.url.include_query_params(cursor=following)
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'


def cursor_for(position: object) -> str:
    """Return an opaque cursor for a position: any JSON."""
    return base64.urlsafe_b64encode(json.dumps(position, ensure_ascii=False).encode()).decode().rstrip("=")


def _is_sound(position: object) -> bool:
    """Tell whether a position could be ours: ids of objects, and numbers that databases have."""
    match position:
        case str():
            return is_fid(position)
        case int():
            return 0 <= position < 1 << 62
        case _:
            return True


def position_of(cursor: str | None, kind: type[T]) -> T | None:
    """Return the position that a cursor stands for.

    Raises:
        RequestInvalid: it is none that we gave out.
    """
    if not cursor:
        return None
    try:
        position: object = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=="))
    except (ValueError, RecursionError):
        position = None
    if not isinstance(position, kind) or not _is_sound(position):
        detail = "the cursor is none that this list gave out; leave it away to begin with the first page"
        raise RequestInvalid(detail, flaws=[Flaw(pointer="?cursor", detail=detail)])
    return position
