"""Error responses as problem details (RFC 9457). This is the only mapping from errors to status codes."""

import errno
import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from headwater.api.request_ids import request_id_of, without_tokens
from headwater.domain import errors
from headwater.domain.errors import Flaw, HeadwaterError, RequestInvalid
from headwater.domain.json_limits import encodable
from headwater.domain.schema import cut, json_pointer
from headwater.ingest.decompression import ENCODINGS

#: Looked up along the error's base classes, so that a subclass inherits its family's status.
STATUS: Mapping[type[HeadwaterError], HTTPStatus] = {
    errors.Invalid: HTTPStatus.BAD_REQUEST,
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.NotAllowed: HTTPStatus.FORBIDDEN,
    errors.OriginNotAllowed: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.MethodNotAllowed: HTTPStatus.METHOD_NOT_ALLOWED,
    errors.DocumentInvalid: HTTPStatus.NOT_ACCEPTABLE,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.VersionMismatch: HTTPStatus.PRECONDITION_FAILED,
    errors.RequestTimedOut: HTTPStatus.REQUEST_TIMEOUT,
    errors.HeaderTooLarge: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.NotUnderstood: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    errors.SegmentDamaged: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NoRoom: HTTPStatus.INSUFFICIENT_STORAGE,
}

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"

INTERNAL_TITLE = "Headwater failed"
INTERNAL_DETAIL = "something went wrong inside; the server's log has the reason beside this request's id"
_TYPES = "https://headwater.dev/problems/"
#: Below this path, a problem has a member ``error``, which clients of an Iceberg catalog read.
_ICEBERG = "/iceberg/"


class Fault(BaseModel):
    """One error in a request, and its position; empty fields are omitted."""

    line: int | None = Field(default=None, description="Line of the upload, from 1.")
    offset: int | None = Field(default=None, description="Byte of the decompressed upload, from 0.")
    doc_id: str | None = Field(default=None, description="The document's id, where it could be told.")
    pointer: str | None = Field(default=None, description="JSON pointer (RFC 6901) into the body or the document.")
    keyword: str | None = Field(default=None, description="The JSON Schema keyword, or the rule, that failed.")
    schema_pointer: str | None = Field(default=None, description="JSON pointer into the schema.")
    detail: str = Field(description="What is wrong, in one sentence.")


class Problem(BaseModel):
    """Why a call failed (RFC 9457)."""

    type: str = Field(description="Stable; a section of the documentation says what it means and how to fix it.")
    title: str
    status: int
    detail: str
    instance: str
    success: bool = False
    messages: list[str] = Field(description="The errors, each as one line for a person.")
    errors: list[Fault] = Field(description="At most 100.")
    truncated: bool = Field(description="Whether there were more errors than are listed.")
    request_id: str = Field(description="Stands in the server's log, too.")
    segment: str | None = Field(default=None, description="Of `segment-damaged` alone: what is damaged.")
    task: str | None = Field(default=None, description="Of `segment-damaged` alone: whose documents are in it.")


def example_of(kind: str, title: str, status: int, detail: str) -> dict[str, Any]:
    """Return an example of an error for the OpenAPI document."""
    return Problem(
        type=_TYPES + kind,
        title=title,
        status=status,
        detail=detail,
        instance="/streams",
        messages=[detail],
        errors=[],
        truncated=False,
        request_id="5f2c9a1b7e3d4c60",
    ).model_dump(mode="json", exclude_none=True)


def slug(kind: type[HeadwaterError]) -> str:
    """Return the last part of an error's ``type``: ``DocumentInvalid`` is ``document-invalid``."""
    return "".join("-" + letter.lower() if letter.isupper() else letter for letter in kind.__name__).lstrip("-")


def status_of(error: HeadwaterError) -> HTTPStatus:
    """Return the status code of an error, from the nearest base class that has one."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def public_kind(error: HeadwaterError) -> type[HeadwaterError]:
    """Return the documented class of an error: the nearest ancestor that ``domain/errors.py`` declares."""
    return next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)


def problem(
    request: Request,
    status: int,
    *,
    kind: str,
    title: str,
    detail: str,
    flaws: tuple[Flaw, ...] = (),
    truncated: bool = False,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, str | None] | None = None,
) -> Response:
    """Return the response for an error."""
    body = Problem(
        type=_TYPES + kind,
        title=title,
        status=status,
        detail=encodable(detail),
        instance=encodable(request.url.path),
        messages=[encodable(flaw.message) for flaw in flaws] or [encodable(detail)],
        errors=[],
        truncated=truncated,
        request_id=request_id_of(request.scope),
        segment=(members or {}).get("segment"),
        task=(members or {}).get("task"),
    )
    content = body.model_dump(mode="json", exclude_none=True)
    content["errors"] = faults(flaws)
    if request.url.path.startswith(_ICEBERG):
        content["error"] = {"message": content["detail"], "type": kind, "code": int(status)}
    # The detail may quote a mistyped path with a token in it.
    text = without_tokens(json.dumps(content, ensure_ascii=False))
    return Response(text, int(status), headers=headers, media_type=MEDIA_TYPE)


def unrouted_problem(error: HeadwaterError, *, request_id: str) -> dict[str, Any]:
    """Return the problem of a request that is rejected before it is routed."""
    kind = public_kind(error)
    return Problem(
        type=_TYPES + slug(kind),
        title=kind.title(),
        status=int(status_of(error)),
        detail=error.detail,
        instance="/",
        messages=[error.detail],
        errors=[],
        truncated=False,
        request_id=request_id,
    ).model_dump(mode="json")


def faults(flaws: Iterable[Flaw]) -> list[dict[str, Any]]:
    """Return errors in the form of the API."""
    found = [Fault(**{name: _encodable(getattr(flaw, name)) for name in Fault.model_fields}) for flaw in flaws]
    return [fault.model_dump(exclude_none=True) for fault in found]


def _encodable(value: Any) -> Any:
    return encodable(value) if isinstance(value, str) else value


def handle(request: Request, error: HeadwaterError) -> Response:
    """Return the response for one of our own errors."""
    status = status_of(error)
    headers: dict[str, str] = {}
    match status:
        case HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = 'Bearer realm="headwater"'
        case HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            is_upload = request.url.path.endswith("/upload")
            headers["Accept-Encoding"] = ", ".join(ENCODINGS) if is_upload else "identity"
        case _:
            pass
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.MethodNotAllowed):
        headers["Allow"] = "GET"
    kind = public_kind(error)
    return problem(
        request,
        status,
        kind=slug(kind),
        title=kind.title(),
        detail=error.detail,
        flaws=error.flaws,
        truncated=error.truncated,
        headers=headers,
        members=error.members,
    )


def handle_validation(request: Request, error: RequestValidationError) -> Response:
    """Return the response for a request that fails the framework's validation."""
    if _is_encoded(request):
        return handle(request, errors.EncodingUnknown(_NOT_ENCODED))
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    in_body = any(fault["loc"][:1] == ("body",) for fault in error.errors())
    # Bytes: the framework has not decoded a body of that type.
    if in_body and media_type and isinstance(error.body, bytes):
        return handle(
            request,
            errors.ContentTypeUnknown(
                f"Content-Type {media_type!r} is not supported here; send JSON with Content-Type: application/json"
            ),
        )
    flaws = [_flaw(fault, error.body) for fault in error.errors()]
    return handle(request, RequestInvalid(f"the request is invalid: {flaws[0].message}", flaws=flaws))


def handle_http(request: Request, error: HTTPException, routes: Sequence[BaseRoute]) -> Response:
    """Return the response for the framework's own errors: unknown path or method."""
    if isinstance(error.__cause__, HeadwaterError):
        return handle(request, error.__cause__)  # raised while the framework read the body
    if error.__cause__ is not None:
        if _is_encoded(request):
            return handle(request, errors.EncodingUnknown(_NOT_ENCODED))
        return handle(request, RequestInvalid(f"the body is not JSON in UTF-8: {cut(str(error.__cause__))}"))
    path = without_tokens(request.url.path)
    headers = error.headers
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            kind: type[HeadwaterError] = errors.NotFound
            detail = f"there is nothing at {path}; /docs lists what there is"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            kind = errors.MethodNotAllowed
            headers = {"Allow": ", ".join(sorted(_methods(routes, request.scope)))}
            detail = f"{request.method} is not allowed at {path}; allowed: {headers['Allow']}"
        case _:
            kind, detail = RequestInvalid, str(error.detail)
    return problem(request, error.status_code, kind=slug(kind), title=kind.title(), detail=detail, headers=headers)


def install(app: FastAPI, *, routes: Sequence[BaseRoute]) -> None:
    """Install the error handlers of an application with those routes."""

    async def ours(request: Request, error: Exception) -> Response:
        return handle(request, cast("HeadwaterError", error))

    async def shape(request: Request, error: Exception) -> Response:
        return handle_validation(request, cast("RequestValidationError", error))

    async def framework(request: Request, error: Exception) -> Response:
        return handle_http(request, cast("HTTPException", error), routes)

    async def full(request: Request, error: Exception) -> Response:
        if cast("OSError", error).errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise error
        log.error("disk.full", exc_info=error)
        return handle(request, errors.NoRoom("the server's disk is full; make room there, and try again"))

    app.add_exception_handler(HeadwaterError, ours)
    app.add_exception_handler(OSError, full)
    app.add_exception_handler(RequestValidationError, shape)
    app.add_exception_handler(HTTPException, framework)


def internal(request: Request) -> Response:
    """Return the response for an unexpected error, without internal details."""
    return problem(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        kind="internal",
        title=INTERNAL_TITLE,
        detail=INTERNAL_DETAIL,
    )


def _methods(routes: Sequence[BaseRoute], scope: Scope) -> set[str]:
    # The framework lists only the methods of the path's first route.
    return {
        method
        for route in routes
        if isinstance(route, APIRoute) and route.include_in_schema and route.matches(scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


def _is_encoded(request: Request) -> bool:
    return request.headers.get("content-encoding", "identity").strip().lower() != "identity"


_NOT_ENCODED = "only uploads may be compressed; send this body as it is, without Content-Encoding"

#: Clearer messages for some errors of the framework.
_PLAINER = {
    "Extra inputs are not permitted": "there is no such field here, or it is not for callers to write",
    "Unexpected keyword argument": "there is no such field here",
    "Field required": "a value is required",
    "Input should have timezone info": "a moment with its time zone is expected, such as 2026-03-01T00:00:00Z",
}


def _flaw(fault: Mapping[str, Any], body: object) -> Flaw:
    where, *path = fault["loc"]
    message = str(fault["msg"]).removeprefix("Value error, ")
    detail, keyword = cut(_PLAINER.get(message, message)), str(fault["type"])
    match where:
        case "body" if fault["type"] == "json_invalid":
            detail = f"the body is not JSON: {fault['ctx']['error']} at character {path[0]}"
            return Flaw(detail=detail, pointer="", keyword=keyword)
        case "body" if not path and fault["type"] == "missing":
            return Flaw(detail="a JSON body is expected, and there is none", pointer="", keyword=keyword)
        case "body":
            return Flaw(detail=detail, pointer=json_pointer(_steps(path, body)), keyword=keyword)
        case "query":
            return Flaw(detail=detail, pointer=f"?{path[0]}", keyword=keyword)
        case _:
            return Flaw(detail=f"{where} {'.'.join(map(str, path))}: {detail}", keyword=keyword)


def _steps(path: list[str | int], body: object) -> list[str | int]:
    """Return the steps of a path that exist in the body.

    Pydantic also adds the tried branch of a union, which is not part of the request.
    """
    steps: list[str | int] = []
    for place, step in enumerate(path):
        is_last = place == len(path) - 1
        if isinstance(body, dict) and isinstance(step, str):
            held = cast("dict[str, object]", body)
            if step in held or (is_last and "[" not in step and not step.startswith("function-")):
                steps.append(step)
                body = held.get(step)
        elif isinstance(body, list) and isinstance(step, int):
            items = cast("list[object]", body)
            steps.append(step)
            body = items[step] if step < len(items) else None
    return steps
