"""What lenient uploads left aside: read, and tried again."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from headwater.api.auth import READS, WRITES
from headwater.api.documents import listing_of
from headwater.api.envelope import EXAMPLE_FID, Cursor, Envelope, Limit, Listing, cursor_for, position_of
from headwater.api.errors import Fault, faults
from headwater.api.openapi import fails
from headwater.api.parts import Backend
from headwater.catalog import objects, rejects
from headwater.catalog.objects import TASKS
from headwater.catalog.transaction import Transaction
from headwater.domain.reject import Reject, RejectKind

router = APIRouter(tags=["tasks"])

#: Texts on a page, in bytes, beyond which it ends sooner than was asked for.
MOST_TEXT = 8 << 20
#: No attempt has a higher number.
_HIGHEST = (1 << 31) - 1


class RejectOut(BaseModel):
    """A line that was kept aside."""

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


class ReplayOut(BaseModel):
    """What became of the lines that were kept aside."""

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
    backend: Backend,
    request: Request,
    attempt: Annotated[
        int | None, Query(ge=1, le=_HIGHEST, description="Of that attempt; the present one if it is not given.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List what lenient uploads of a task left aside, in order of arrival; of 10,000 lines, the rest is only counted.

    A page whose texts are long ends sooner than `limit` says. Lines of former attempts are kept until a
    later one takes their place in the stream.
    """
    after = position_of(cursor, int) or 0

    def read(tx: Transaction) -> tuple[list[Reject], bool]:
        task = objects.get(tx, TASKS, fid)
        return _some(tx, fid, task.attempt if attempt is None else attempt, after=after, limit=limit)

    found, more = await backend.db.read(read)
    following = cursor_for(found[-1].seq) if more else None
    return listing_of(request, [_shown(reject) for reject in found], following)


@router.post("/actions/tasks/{fid}/replay", dependencies=[WRITES], responses=fails(404, 409))
async def replay_rejects(fid: str, backend: Backend) -> Envelope[ReplayOut]:
    """Try what was kept aside of a task's present attempt again, by the External's version that is in use now.

    What passes joins the task, open or ended, at the task's place in the order of the stream: it does not
    cover what later tasks brought, nor what the task itself brought later. What does not pass stays. Where a
    gate keeps the task out, what passes waits with the rest of it to be published by hand.
    """
    done = await backend.replays.replay(fid)
    return Envelope(
        payload=ReplayOut(
            replayed=done.replayed, covered=done.covered, rejected=done.rejected, stream_version=done.version
        )
    )


def _some(tx: Transaction, task: str, attempt: int, *, after: int, limit: int) -> tuple[list[Reject], bool]:
    """Return rejects of a page, as many as do not become too much text, and whether there are more."""
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
    text = reject.text
    return {
        **{name: getattr(reject, name) for name in plain},
        "id": None if reject.doc_id is None else reject.doc_id.decode(errors="replace"),
        "errors": faults(reject.flaws),
        "text": text,
        "base64": None if text is not None else msgspec.to_builtins(reject.raw),
        "truncated": not reject.is_whole,
    }
