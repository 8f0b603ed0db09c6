"""The calls that an EC makes: upload documents, report the status of its task."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

import structlog
from fastapi import Header, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from headwater.api import routing
from headwater.api.audit_actor import act_as
from headwater.api.auth import Speaker, TaskSpeaker, secret_of, uploader
from headwater.api.dependencies import Services, ServicesOf
from headwater.api.errors import Fault, faults, handle
from headwater.api.form_bodies import FORM, AnyMediaType
from headwater.api.middleware.request_body import UPLOAD
from headwater.api.openapi import fails
from headwater.api.request_bodies import WHOLE, RequestBody
from headwater.api.responses import Envelope, answer, answer_of
from headwater.api.routers.tasks import TaskOut
from headwater.domain.errors import ContentTypeUnknown, HeadwaterError, NotFound, TaskRemoved, UploadBroken
from headwater.domain.json_limits import cleaned
from headwater.domain.task import CODE_RUNNING
from headwater.domain.tracing import span
from headwater.ingest.upload import Receipt
from headwater.lifecycle import task_secrets
from headwater.lifecycle import tasks as task_actions

router = routing.router("for crawlers", route_class=AnyMediaType)

#: Content types of lines, for documentation: any other is accepted too, since the content is what counts.
CONTENT_TYPES = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain",
    }
)

#: Content types that say that the body is not lines: parts of a form, or what belongs into Content-Encoding.
_NO_LINES = re.compile(
    r"multipart/.*|application/(?:x-)?(?:gzip|zip|zip-compressed|zstd|compress|compressed|bzip2?|xz|7z-compressed|tar"
    r"|gtar|lz4|brotli|br)"
)

#: Maximum number of characters of an Idempotency-Key.
LONGEST_KEY = 255

_LINES = '{"sku": "sku-1", "price": 12.5}\n{"sku": "sku-2", "price": 9}\n'


class ReceiptOut(BaseModel):
    """The receipt of an accepted upload, whose documents are on disk."""

    count: int = Field(description="Documents of this upload.", examples=[50])
    total: int = Field(description="Documents of the attempt so far.", examples=[250])
    bytes: int = Field(description="Bytes of this upload's documents, decompressed.", examples=[28650])
    deleted: int = Field(default=0, description="Documents that this upload deletes.", examples=[0])


class LenientReceiptOut(ReceiptOut):
    """The receipt of an upload with `Prefer: handling=lenient`."""

    rejected: int = Field(description="Lines of this upload that were kept aside.", examples=[1])
    errors: list[Fault] = Field(description="What is wrong with them; at most 100.")
    truncated: bool = Field(description="Whether more is wrong than is listed.")


class StatusBody(RequestBody):
    """The status of a task."""

    # A report is never refused for its texts: its task would stay open.
    cleaned_fields: ClassVar[frozenset[str]] = frozenset({"message", "detail"})
    clean: ClassVar[Callable[[object, int], object]] = staticmethod(cleaned)

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
    responses=fails(404, 406, 409, 413, 415, 422, 507),
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
    services: ServicesOf,
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
    """Upload documents, all or nothing.

    If the response is 200, the documents are on disk. After any other response, none of them is stored. With
    `Prefer: handling=lenient`, broken or invalid lines do not fail the upload: they are listed in `errors` and
    stored as rejected lines.
    """
    _require_lines(request.headers.get("content-type"))
    try:
        lenient = prefer is not None and is_lenient(prefer)
        with span("upload", {"headwater.task": speaker.task.fid}) as recorded:
            receipt = await _taken(
                speaker, request, services, encoding=content_encoding, key=idempotency_key, lenient=lenient
            )
            if recorded is not None:
                recorded.tell({"headwater.documents": receipt.count, "headwater.bytes": receipt.bytes})
    except HeadwaterError:
        services.metrics.refused(speaker.task.crawler)
        raise
    if receipt.replayed:
        services.metrics.replayed(speaker.task.crawler)
    else:
        services.metrics.accepted(
            speaker.task.crawler, docs=receipt.count, size=receipt.bytes, rejected=receipt.rejected or 0
        )
    # Added to the log line of the request.
    structlog.contextvars.bind_contextvars(docs=receipt.count, bytes=receipt.bytes)
    headers = {"Idempotency-Replayed": "true"} if receipt.replayed else {}
    if receipt.rejected is not None:
        return _lenient(receipt, headers)
    out = Envelope(
        payload=ReceiptOut(count=receipt.count, total=receipt.total, bytes=receipt.bytes, deleted=receipt.deleted)
    )
    return Response(out.model_dump_json(), media_type="application/json", headers=headers)


async def _taken(
    speaker: Speaker, request: Request, services: Services, *, encoding: str | None, key: str | None, lenient: bool
) -> Receipt:
    try:
        return await services.uploads.take(speaker.task, request.stream(), encoding=encoding, key=key, lenient=lenient)
    except ClientDisconnect as error:
        raise UploadBroken("the connection broke in the middle of the upload; nothing of it was kept") from error
    except TaskRemoved as error:
        raise _gone(speaker, error) from error


def is_lenient(prefer: Sequence[str]) -> bool:
    """Return whether ``Prefer`` headers ask for lenient handling (RFC 7240); the first one counts."""
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
        "deleted": receipt.deleted,
        "rejected": receipt.rejected,
        "errors": faults(receipt.flaws),
        "truncated": receipt.truncated,
    }
    answered = answer_of(payload)
    answered.headers.update({**headers, "Preference-Applied": "handling=lenient"})
    return answered


_FORM = {
    "schema": {
        "type": "object",
        "required": ["code"],
        "properties": {"code": {"type": "string", "pattern": "^(102|[245][0-9]{2})$"}, "message": {"type": "string"}},
        "additionalProperties": False,
    },
    "example": {"code": "200", "message": "task done"},
}


@router.post(
    "/actions/tasks/{task_id}/status",
    responses=fails(404, 409, 415),
    openapi_extra={"requestBody": {"content": {FORM: _FORM}}},
)
async def report_status(
    speaker: TaskSpeaker, body: StatusBody, services: ServicesOf, request: Request, response: Response
) -> Envelope[TaskOut]:
    """Report that a task is running (102), done (2xx) or failed (4xx, 5xx).

    JSON of any content type, or form fields; `detail` may be nested there: `detail[pages]=3`.
    """
    # A report of 102 is only a sign of life, like an upload, and is not audited.
    if speaker.key is not None and body.code != CODE_RUNNING:
        act_as(speaker.key, request, clock=services.clock)
    report = (body.message, body.detail)
    message, detail = await services.db.read(task_secrets.without_secrets, speaker.task, report, vault=services.vault)
    try:
        task = await services.db.write(
            task_actions.report,
            speaker.task.fid,
            attempt=speaker.task.attempt if speaker.is_crawler else None,
            code=body.code,
            message=message,
            detail=detail,
            at=services.clock(),
            backoff=services.retry_backoff,
        )
    except TaskRemoved as error:
        raise _gone(speaker, error) from error
    return answer(response, TaskOut.of(task))


def _gone(speaker: Speaker, error: TaskRemoved) -> TaskRemoved | NotFound:
    # For its crawler, a deleted task does not exist; a person can restore it.
    if not speaker.is_crawler:
        return error
    return NotFound(f"task {speaker.task.fid} was deleted; there is nothing more to do for it")


def _require_lines(content_type: str | None) -> None:
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if _NO_LINES.fullmatch(media_type):
        raise ContentTypeUnknown(
            f"Content-Type {media_type!r} is not supported; send the lines as they are with "
            "Content-Type: application/x-ndjson (compressed ones with Content-Encoding: gzip beside it)"
        )


_UPLOADS = next(route for route in router.routes if getattr(route, "name", "") == "upload")


class UploadFastPath:
    """Calls the upload endpoint directly: the regular route costs as much as a small upload."""

    def __init__(self, app: ASGIApp) -> None:
        """Pass everything to ``app`` except plain uploads."""
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
        services: Services = request.app.state.services
        address = None if request.client is None else request.client.host
        encoding = request.headers.get("content-encoding")
        try:
            secret = secret_of(request.headers.get("authorization"))
            speaker = await uploader(services, found[1], secret, address=address)
            response = await upload(
                speaker,
                request,
                services,
                content_encoding=encoding,
                idempotency_key=key,
                prefer=request.headers.getlist("prefer"),
            )
        except HeadwaterError as error:
            response = handle(request, error)
        await response(scope, receive, send)
