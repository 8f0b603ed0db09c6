"""Documents as callers see them: their text goes to the wire as it was uploaded, and is not parsed again."""

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import Request, Response
from pydantic import BaseModel, Field

from headwater.api.envelope import EXAMPLE_FID, Listing, link_next
from headwater.lake.engine import Found


class DocumentOut(BaseModel):
    """A document of a stream or task."""

    id: str = Field(examples=["sku-1"])
    task: str = Field(description="The task that wrote this version of it.", examples=[EXAMPLE_FID])
    doc: dict[str, Any] = Field(description="As it was uploaded.", examples=[{"sku": "sku-1", "price": 12.5}])


class DocumentsOut(Listing[DocumentOut]):
    """A page of a stream's documents."""

    stream_version: int = Field(description="The stream version that is shown.", examples=[12])


def raw(text: str) -> msgspec.Raw:
    """Return a document's text as a part of an answer."""
    return msgspec.Raw(text.rstrip().encode())


def shown(found: Found) -> dict[str, object]:
    """Return a document, to be sent with ``answer_of`` or ``listing_of``."""
    return {"id": found.id, "task": found.task, "doc": raw(found.text)}


def answer_of(payload: object) -> Response:
    """Return an answer with documents in it."""
    return _json({"success": True, "payload": payload, "version": 0})


def listing_of(request: Request, payload: Sequence[object], following: str | None, **more: object) -> Response:
    """Return a page of a list with documents in it; ``following`` is the cursor of the next page."""
    response = _json({"success": True, "payload": payload, "version": 0, "next_cursor": following} | more)
    link_next(request, response, following)
    return response


def _json(body: dict[str, object]) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
