"""Rejected lines of lenient uploads: list and replay."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.auth import READS, WRITES
from headwater.api.dependencies import ServicesOf
from headwater.api.errors import Fault, faults
from headwater.api.openapi import fails
from headwater.api.responses import EXAMPLE_FID, Cursor, Envelope, Limit, Listing, cursor_for, listing_of, position_of
from headwater.catalog import objects, rejects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import TASKS
from headwater.domain.reject import Reject, RejectKind

router = routing.router("tasks")

#: Bytes of text after which a page ends early.
MOST_TEXT = 8 << 20
#: The maximum attempt number.
_HIGHEST = (1 << 31) - 1


class RejectOut(BaseModel):
    """A rejected line."""

    task: str = Field(examples=[EXAMPLE_FID])
    attempt: int = Field(examples=[1])
    upload: int = Field(description="Which accepted upload of the attempt it came with, from 1.", examples=[3])
    line: int = Field(description="Line of that upload, from 1.", examples=[17])
    offset: int = Field(description="Byte of that upload, decompressed, at which the line begins, from 0.")
    at: datetime = Field(examples=["2026-03-01T12:30:00.000000Z"])
    kind: RejectKind = Field(description="`broken`: not JSON. `invalid`: no object, or not as the schema says.")
    id: str | None = Field(description="The document's id; of a broken line, what seems to be it.", examples=["sku-9"])
    errors: list[Fault] = Field(description="What is wrong with it, as of the upload or the last replay; at most 10.")
    text: str | None = Field(
        description="The line as it came, its first 64 KiB; null where it is not UTF-8.",
        examples=['{"sku": "sku-9", "price": "abc"}'],
    )
    base64: str | None = Field(description="The same in base64, where it is not UTF-8.", examples=[None])
    size: int = Field(description="Bytes of the whole line.", examples=[32])
    truncated: bool = Field(description="Whether the line is longer than what is kept; such are not replayed.")
    damaged: bool = Field(
        description="Whether what is stored is not what was kept; then id and text are null, and it is not replayed."
    )


class ReplayOut(BaseModel):
    """The result of a replay."""

    replayed: int = Field(description="Lines that are documents of the task now.", examples=[17])
    covered: int = Field(
        description="Lines that pass too, of whose documents the task has brought newer versions since; dropped.",
        examples=[0],
    )
    rejected: int = Field(description="Lines that are still rejected.", examples=[3])
    stream_version: int | None = Field(
        description="The version that shows the documents; null if there are none, or if they wait with their task.",
        examples=[12],
    )


@router.get("/tasks/{fid}/rejects", dependencies=[READS], responses=fails(404), response_model=Listing[RejectOut])
async def list_rejects(
    fid: str,
    services: ServicesOf,
    request: Request,
    attempt: Annotated[
        int | None, Query(ge=1, le=_HIGHEST, description="Of that attempt; the present one if it is not given.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List a task's rejected lines in order of arrival; 10,000 are stored, the rest is only counted.

    A page of long texts ends before `limit`. Lines of former attempts are kept until a later attempt replaces
    them in the stream.
    """
    after = position_of(cursor, int) or 0

    def read(tx: Transaction) -> tuple[list[Reject], bool]:
        task = objects.get(tx, TASKS, fid)
        return _some(tx, fid, task.attempt if attempt is None else attempt, after=after, limit=limit)

    found, more = await services.db.read(read)
    following = cursor_for(found[-1].seq) if more else None
    return listing_of(request, [_shown(reject) for reject in found], following)


@router.post("/actions/tasks/{fid}/replay", dependencies=[WRITES], responses=fails(404, 409, 507))
async def replay_rejects(fid: str, services: ServicesOf) -> Envelope[ReplayOut]:
    """Replay the rejected lines of a task's current attempt against the published version of the External.

    Lines that pass become documents of the task, open or ended, at the task's place in the order of the stream: they
    do not cover documents of later tasks, nor later versions of the task itself. The others stay rejected. If a
    gate has withheld the task, replayed documents wait with the others to be published by hand.
    """
    done = await services.replays.replay(fid)
    return Envelope(
        payload=ReplayOut(
            replayed=done.replayed, covered=done.covered, rejected=done.rejected, stream_version=done.version
        )
    )


def _some(tx: Transaction, task: str, attempt: int, *, after: int, limit: int) -> tuple[list[Reject], bool]:
    """Return the rejects of a page, bounded by the size of their texts, and whether there are more."""
    found: list[Reject] = []
    size = 0
    while some := rejects.page(tx, task, attempt, after=after, limit=rejects.MANY):
        for reject in some:
            if len(found) == limit or (found and size + len(reject.raw) > MOST_TEXT):
                return found, True
            found.append(reject)
            size += len(reject.raw)
        after = some[-1].seq
    return found, False


def _shown(reject: Reject) -> dict[str, Any]:
    plain = ("task", "attempt", "upload", "line", "offset", "at", "kind", "size")
    is_damaged = not reject.is_intact
    text = None if is_damaged else reject.text
    return {
        **{name: getattr(reject, name) for name in plain},
        "id": None if reject.doc_id is None or is_damaged else reject.doc_id.decode(errors="replace"),
        "errors": faults(reject.flaws),
        "text": text,
        "base64": None if text is not None or is_damaged else msgspec.to_builtins(reject.raw),
        "truncated": not reject.is_whole,
        "damaged": is_damaged,
    }
