"""The calls of an EC: upload documents, report how the task goes."""

from collections.abc import Sequence
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from headwater.api.auth import Speaker, TaskSpeaker, uploader
from headwater.api.bodies import WHOLE, RequestBody
from headwater.api.documents import answer_of
from headwater.api.doers import is_done_by
from headwater.api.envelope import Envelope, answer
from headwater.api.errors import Fault, faults, handle
from headwater.api.openapi import fails
from headwater.api.parts import Backend, Parts
from headwater.api.reception import UPLOAD
from headwater.api.tasks import TaskOut
from headwater.domain.errors import ContentTypeUnknown, HeadwaterError, NotFound, TaskRemoved, UploadBroken
from headwater.domain.spans import span
from headwater.domain.task import CODE_RUNNING
from headwater.ingest.upload import Receipt
from headwater.lifecycle import actions

router = APIRouter(tags=["for crawlers"])

#: What a body of lines may be called; none at all is fine too, since the body is what counts.
CONTENT_TYPES = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json",
        "application/octet-stream",
        "text/plain",
    }
)

#: Characters that an Idempotency-Key may have.
LONGEST_KEY = 255

_LINES = '{"sku": "sku-1", "price": 12.5}\n{"sku": "sku-2", "price": 9}\n'


class ReceiptOut(BaseModel):
    """What was accepted; it is on disk."""

    count: int = Field(description="Documents of this upload.", examples=[50])
    total: int = Field(description="Documents of the attempt so far.", examples=[250])
    bytes: int = Field(description="Bytes of this upload's documents, decompressed.", examples=[28650])


class LenientReceiptOut(ReceiptOut):
    """The same of an upload with `Prefer: handling=lenient`."""

    rejected: int = Field(description="Lines of this upload that were kept aside.", examples=[1])
    errors: list[Fault] = Field(description="What is wrong with them; at most 100.")
    truncated: bool = Field(description="Whether more is wrong than is listed.")


class StatusBody(RequestBody):
    """How a task goes."""

    code: Annotated[int, WHOLE] = Field(
        description="102 while it runs, 2xx when it is done, 4xx or 5xx when it failed.",
        examples=[200],
        json_schema_extra={
            "anyOf": [{"const": 102}, {"minimum": 200, "maximum": 299}, {"minimum": 400, "maximum": 599}]
        },
    )
    message: str | None = Field(default=None, description="For people.")
    detail: Any = Field(default=None, description="Any JSON.")


@router.post(
    "/actions/tasks/{task_id}/upload",
    response_model=Envelope[ReceiptOut] | Envelope[LenientReceiptOut],
    responses=fails(404, 406, 409, 413, 415, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "Newline-delimited JSON, one object a line; plain, gzip, deflate or zstd.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": _LINES}},
        }
    },
)
async def upload(
    speaker: TaskSpeaker,
    request: Request,
    backend: Backend,
    content_encoding: Annotated[
        str | None,
        Header(description="`gzip`, `deflate` or `zstd`.", json_schema_extra={"enum": ["gzip", "deflate", "zstd"]}),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=LONGEST_KEY, description="The same key with the same body is answered as the first time."),
    ] = None,
    prefer: Annotated[
        list[str] | None,
        Header(description="`handling=lenient`: lines that are no documents are kept aside, and the others taken."),
    ] = None,
) -> Response:
    """Upload documents, wholly or not at all.

    When the answer is 200, the documents are on disk. On any other answer none of them is kept. With
    `Prefer: handling=lenient`, lines that are broken or invalid are no error: they are listed in `errors`, and
    kept aside.
    """
    _require_lines(request.headers.get("content-type"))
    try:
        lenient = prefer is not None and is_lenient(prefer)
        with span("upload", {"headwater.task": speaker.task.fid}) as recorded:
            receipt = await _taken(
                speaker, request, backend, encoding=content_encoding, key=idempotency_key, lenient=lenient
            )
            if recorded is not None:
                recorded.tell({"headwater.documents": receipt.count, "headwater.bytes": receipt.bytes})
    except HeadwaterError:
        backend.meters.refused()
        raise
    if receipt.replayed:
        backend.meters.replayed()
    else:
        backend.meters.accepted(docs=receipt.count, size=receipt.bytes, rejected=receipt.rejected or 0)
    # On the line that the log has of each request.
    structlog.contextvars.bind_contextvars(docs=receipt.count, bytes=receipt.bytes)
    headers = {"Idempotency-Replayed": "true"} if receipt.replayed else {}
    if receipt.rejected is not None:
        return _lenient(receipt, headers)
    out = Envelope(payload=ReceiptOut(count=receipt.count, total=receipt.total, bytes=receipt.bytes))
    return Response(out.model_dump_json(), media_type="application/json", headers=headers)


async def _taken(
    speaker: Speaker, request: Request, backend: Parts, *, encoding: str | None, key: str | None, lenient: bool
) -> Receipt:
    try:
        return await backend.uploads.take(speaker.task, request.stream(), encoding=encoding, key=key, lenient=lenient)
    except ClientDisconnect as error:
        raise UploadBroken("the connection broke in the middle of the upload; nothing of it was kept") from error
    except TaskRemoved as error:
        raise _gone(speaker, error) from error


def is_lenient(prefer: Sequence[str]) -> bool:
    """Tell whether ``Prefer`` headers ask for lenient handling (RFC 7240); of several the first counts."""
    for preference in ",".join(prefer).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "handling":
            return value.strip().strip('"').lower() == "lenient"
    return False


def _lenient(receipt: Receipt, headers: dict[str, str]) -> Response:
    structlog.contextvars.bind_contextvars(rejected=receipt.rejected)
    payload = {
        "count": receipt.count,
        "total": receipt.total,
        "bytes": receipt.bytes,
        "rejected": receipt.rejected,
        "errors": faults(receipt.flaws),
        "truncated": receipt.truncated,
    }
    answered = answer_of(payload)
    answered.headers.update({**headers, "Preference-Applied": "handling=lenient"})
    return answered


@router.post("/actions/tasks/{task_id}/status", responses=fails(404, 409, 415))
async def report_status(
    speaker: TaskSpeaker, body: StatusBody, backend: Backend, request: Request, response: Response
) -> Envelope[TaskOut]:
    """Say that a task goes on (102), is done (2xx) or failed (4xx, 5xx)."""
    # That a task goes on is a sign of life, as an upload is.
    if speaker.key is not None and body.code != CODE_RUNNING:
        is_done_by(speaker.key, request, clock=backend.clock)
    try:
        task = await backend.db.write(
            actions.report,
            speaker.task.fid,
            attempt=speaker.task.attempt if speaker.is_crawler else None,
            code=body.code,
            message=body.message,
            detail=body.detail,
            at=backend.clock(),
            pauses=backend.retry_pauses,
        )
    except TaskRemoved as error:
        raise _gone(speaker, error) from error
    return answer(response, TaskOut.of(task))


def _gone(speaker: Speaker, error: TaskRemoved) -> TaskRemoved | NotFound:
    # To its crawler a deleted task is no more; to a person it can be restored.
    if not speaker.is_crawler:
        return error
    return NotFound(f"task {speaker.task.fid} was deleted; there is nothing more to do for it")


def _require_lines(content_type: str | None) -> None:
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type and media_type not in CONTENT_TYPES:
        raise ContentTypeUnknown(
            f"Content-Type {media_type!r} is not understood; send the lines as they are with "
            "Content-Type: application/x-ndjson (compressed ones with Content-Encoding: gzip beside it)"
        )


_UPLOADS = next(route for route in router.routes if getattr(route, "name", "") == "upload")


class Direct:
    """Calls the endpoint for uploads by itself: the general way to it costs as much as a small upload."""

    def __init__(self, app: ASGIApp) -> None:
        """Leave to ``app`` what is no upload, or has something about it that is not plain."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        found = UPLOAD.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        scope["route"] = _UPLOADS
        request = Request(scope, receive)
        key = request.headers.get("idempotency-key")
        if key is not None and len(key) > LONGEST_KEY:
            await self._app(scope, receive, send)
            return
        backend: Parts = request.app.state.parts
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        bearer = secret if scheme.lower() == "bearer" and secret else None
        encoding = request.headers.get("content-encoding")
        try:
            speaker = await uploader(backend, found[1], bearer)
            response = await upload(
                speaker,
                request,
                backend,
                content_encoding=encoding,
                idempotency_key=key,
                prefer=request.headers.getlist("prefer"),
            )
        except HeadwaterError as error:
            response = handle(request, error)
        await response(scope, receive, send)
