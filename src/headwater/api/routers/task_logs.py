"""Logs of tasks: written by crawlers, read in pages, followed."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from headwater.api import routing
from headwater.api.auth import READS, StillReads, TaskSpeaker
from headwater.api.dependencies import Services, ServicesOf
from headwater.api.openapi import fails
from headwater.api.query_params import HIGHEST
from headwater.api.request_bodies import HIGHEST_EDIT
from headwater.api.responses import Cursor, Envelope, Limit, Listing, cursor_for, listing_of, position_of
from headwater.api.sse import ALIVE, DESCRIBED, KEEP_ALIVE, held_by, streamed
from headwater.catalog.task_logs import TaskLog
from headwater.domain.errors import ContentTypeUnknown, EncodingUnknown, Flaw, RequestInvalid, UploadBroken
from headwater.domain.log_line import LogLevel, LogLine
from headwater.domain.redaction import Redactor
from headwater.lifecycle.task_secrets import secrets_of
from headwater.streams.task_log import LogFilter

router = routing.router("tasks")

_LINES = '{"level": "info", "text": "page 1 of 20"}\n{"level": "error", "text": "page 2 is gone", "status": 404}\n'


class LogReceiptOut(BaseModel):
    """What became of the lines."""

    lines: int = Field(description="Lines that were stored.", examples=[2])
    dropped: int = Field(description="Lines that had no room: the log is full.", examples=[0])


class LogLineOut(BaseModel):
    """A line of a log, with the further fields that its crawler sent."""

    model_config = ConfigDict(extra="allow")

    at: datetime = Field(examples=["2026-03-01T12:30:00.000000Z"])
    level: LogLevel
    text: str = Field(examples=["page 1 of 20"])


class LogOut(Listing[LogLineOut]):
    """A page of a log."""

    position: str = Field(description="How far was looked: a `cursor` for what comes later.", examples=["NDcxMQ"])
    lines: int = Field(description="Lines of the whole log.", examples=[2])
    dropped: int = Field(description="Lines that had no room.", examples=[0])


@router.post(
    "/actions/tasks/{task_id}/log",
    status_code=status.HTTP_202_ACCEPTED,
    responses=fails(404, 415, 507),
    openapi_extra={
        "requestBody": {
            "description": "Lines of text, or JSON objects with `text`, and `at`, `level` and other fields if known.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": _LINES}},
        }
    },
)
async def write_log(speaker: TaskSpeaker, request: Request, services: ServicesOf) -> Envelope[LogReceiptOut]:
    """Append lines to the log of a task's current attempt, also shortly after its end.

    A line that is not a JSON object with a `text` is text of level `info`. Secrets that the crawler was sent are
    removed. The log is bounded: lines that have no room are dropped and counted.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type.startswith("multipart/"):
        raise ContentTypeUnknown(f"Content-Type {media_type!r} is not supported; send the lines as they are")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise EncodingUnknown("only uploads may be compressed; send this body as it is, without Content-Encoding")
    secrets = await services.db.read(secrets_of, speaker.task, vault=services.vault)
    try:
        receipt = await services.task_log_writer.write(speaker.task, request.stream(), Redactor(secrets))
    except ClientDisconnect as error:
        raise UploadBroken("the connection broke in the middle of the log; what had arrived was stored") from error
    return Envelope(payload=LogReceiptOut(lines=receipt.lines, dropped=receipt.dropped))


async def _filter(
    level: Annotated[LogLevel, Query(description="Only lines of this level or above.")] = LogLevel.DEBUG,
    q: Annotated[str | None, Query(description="Only lines whose text contains this, in any case.")] = None,
) -> LogFilter:
    return LogFilter(level=level, q=q or None)


@router.get(
    "/tasks/{fid}/log",
    dependencies=[READS],
    responses={200: {"content": DESCRIBED}} | fails(404),
    response_model=LogOut,
)
async def read_log(
    fid: str,
    services: ServicesOf,
    request: Request,
    wanted: Annotated[LogFilter, Depends(_filter)],
    still_reads: StillReads,
    attempt: Annotated[
        int | None, Query(ge=1, le=HIGHEST_EDIT, description="Of that attempt; the present one if it is not given.")
    ] = None,
    tail: Annotated[
        int | None, Query(ge=0, le=100_000, description="Begin with the last lines, so many; without `cursor`.")
    ] = None,
    follow: Annotated[bool, Query(description="Stream lines as they come, until the attempt is over.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Read the log of a task, oldest lines first.

    With `follow=1`, a stream of server-sent events: `data` is a line as JSON, `id` its position, which `Last-Event-ID`
    resumes behind. The event `end` says that the attempt is over and nothing follows.

    A page with `level` or `q` may be short, or empty, and not the last: go on while there is a `next_cursor`.
    """
    task, log = await services.task_log_reader.find(fid, attempt)
    resumed = held_by(request.headers.get("last-event-id"), "position in a log")
    place = resumed if resumed is not None else position_of(cursor, int)
    if place is None:
        place = 0 if tail is None else await services.task_log_reader.tail(log, tail)
    if place > HIGHEST:
        raise RequestInvalid(
            "?cursor: it is not valid for this list", flaws=[Flaw(pointer="?cursor", detail="invalid")]
        )
    if follow:
        return streamed(_followed(services, log, place, wanted), services, still_reads)
    page = await services.task_log_reader.page(log, place, wanted, limit=limit, at=task.started_at)
    following = None if page.is_all else cursor_for(page.place)
    return listing_of(
        request,
        [_shown(line) for _, line in page.lines],
        following,
        position=cursor_for(page.place),
        lines=log.lines,
        dropped=log.dropped,
    )


async def _followed(services: Services, log: TaskLog, place: int, wanted: LogFilter) -> AsyncGenerator[bytes]:
    pages = services.task_log_reader.follow(log, place, wanted, at=services.clock(), seconds=KEEP_ALIVE)
    yield b"id: %d\n\n" % place
    async with aclosing(pages):
        async for page in pages:
            lines = [
                b"id: %d\ndata: %b\n\n" % (behind, msgspec.json.encode(_shown(line))) for behind, line in page.lines
            ]
            yield b"".join(lines) or ALIVE + b"\n"
    if not services.task_log_reader.is_closed:
        yield b"event: end\ndata: {}\n\n"


def _shown(line: LogLine) -> dict[str, Any]:
    return {"at": line.at, "level": line.level, "text": line.text, **line.fields}
