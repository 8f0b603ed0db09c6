"""Errors as callers see them: problem details (RFC 9457). Here is the only table from error to status."""

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from headwater.api.tracing import request_id_of, without_tokens
from headwater.domain import errors
from headwater.domain.errors import Flaw, HeadwaterError, RequestInvalid
from headwater.domain.schema import cut, json_pointer
from headwater.ingest.decompression import ENCODINGS

#: Found along the error's ancestry, so that a kind of error has the status of its family.
STATUS: Mapping[type[HeadwaterError], HTTPStatus] = {
    errors.Invalid: HTTPStatus.BAD_REQUEST,
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.NotAllowed: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.MethodNotAllowed: HTTPStatus.METHOD_NOT_ALLOWED,
    errors.DocumentInvalid: HTTPStatus.NOT_ACCEPTABLE,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.VersionMismatch: HTTPStatus.PRECONDITION_FAILED,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.NotUnderstood: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

MEDIA_TYPE = "application/problem+json"

INTERNAL_TITLE = "Headwater failed"
INTERNAL_DETAIL = "something went wrong inside; the server's log has the reason beside this request's id"
_TYPES = "https://headwater.dev/problems/"


class Fault(BaseModel):
    """One thing that is wrong with what was sent, and where it stands; fields that say nothing are absent."""

    line: int | None = Field(default=None, description="Line of the upload, from 1.")
    offset: int | None = Field(default=None, description="Byte of the decompressed upload, from 0.")
    doc_id: str | None = Field(default=None, description="The document's id, where it could be told.")
    pointer: str | None = Field(default=None, description="JSON pointer (RFC 6901) into the body or the document.")
    keyword: str | None = Field(default=None, description="The JSON Schema keyword, or the rule, that failed.")
    schema_pointer: str | None = Field(default=None, description="JSON pointer into the schema.")
    detail: str = Field(description="What is wrong, in one sentence.")


class Problem(BaseModel):
    """Why a call failed (RFC 9457)."""

    type: str = Field(description="Stable; a section of the documentation says what it means and how to mend it.")
    title: str
    status: int
    detail: str
    instance: str
    success: bool = False
    messages: list[str] = Field(description="The errors, each as one line for a person.")
    errors: list[Fault] = Field(description="At most 100.")
    truncated: bool = Field(description="Whether there were more errors than are listed.")
    request_id: str = Field(description="Stands in the server's log, too.")


def example_of(kind: str, title: str, status: int, detail: str) -> dict[str, Any]:
    """Return an error as the API's description shows it."""
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
    ).model_dump(mode="json")


def slug(kind: type[HeadwaterError]) -> str:
    """Return the last part of an error's ``type``: ``DocumentInvalid`` is ``document-invalid``."""
    return "".join("-" + letter.lower() if letter.isupper() else letter for letter in kind.__name__).lstrip("-")


def status_of(error: HeadwaterError) -> HTTPStatus:
    """Return the status that an error has, by the nearest of its ancestors that has one."""
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
) -> Response:
    """Return the answer that tells of an error."""
    body = Problem(
        type=_TYPES + kind,
        title=title,
        status=status,
        detail=detail,
        instance=request.url.path,
        messages=[flaw.message for flaw in flaws] or [detail],
        errors=[],
        truncated=truncated,
        request_id=request_id_of(request.scope),
    )
    content = body.model_dump(mode="json")
    content["errors"] = faults(flaws)
    # A mistyped path may have been quoted with the token in it.
    text = without_tokens(json.dumps(content, ensure_ascii=False))
    return Response(text, int(status), headers=headers, media_type=MEDIA_TYPE)


def faults(flaws: Iterable[Flaw]) -> list[dict[str, Any]]:
    """Return what is wrong as callers see it."""
    found = [Fault(**{name: getattr(flaw, name) for name in Fault.model_fields}) for flaw in flaws]
    return [fault.model_dump(exclude_none=True) for fault in found]


def handle(request: Request, error: HeadwaterError) -> Response:
    """Tell of one of our own errors."""
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
    )


def handle_validation(request: Request, error: RequestValidationError) -> Response:
    """Tell of a request that does not have the shape it should have."""
    if _is_encoded(request):
        return handle(request, errors.EncodingUnknown(_NOT_ENCODED))
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    in_body = any(fault["loc"][:1] == ("body",) for fault in error.errors())
    if in_body and media_type and media_type != "application/json" and not media_type.endswith("+json"):
        return handle(
            request,
            errors.ContentTypeUnknown(
                f"Content-Type {media_type!r} is not understood here; send JSON with Content-Type: application/json"
            ),
        )
    flaws = [_flaw(fault, error.body) for fault in error.errors()]
    return handle(request, RequestInvalid(f"the request is invalid: {flaws[0].message}", flaws=flaws))


def handle_http(request: Request, error: HTTPException, routes: Sequence[BaseRoute]) -> Response:
    """Tell of what the framework found: no such path, or not with this method."""
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
    """Let every error of an application with those routes have the one shape."""

    async def ours(request: Request, error: Exception) -> Response:
        return handle(request, cast("HeadwaterError", error))

    async def shape(request: Request, error: Exception) -> Response:
        return handle_validation(request, cast("RequestValidationError", error))

    async def framework(request: Request, error: Exception) -> Response:
        return handle_http(request, cast("HTTPException", error), routes)

    app.add_exception_handler(HeadwaterError, ours)
    app.add_exception_handler(RequestValidationError, shape)
    app.add_exception_handler(HTTPException, framework)


def internal(request: Request) -> Response:
    """Tell that something failed that nobody foresaw, and nothing of the inside."""
    return problem(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        kind="internal",
        title=INTERNAL_TITLE,
        detail=INTERNAL_DETAIL,
    )


def _methods(routes: Sequence[BaseRoute], scope: Scope) -> set[str]:
    # The framework names only those of the first route of a path.
    return {
        method
        for route in routes
        if isinstance(route, APIRoute) and route.include_in_schema and route.matches(scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


def _is_encoded(request: Request) -> bool:
    return request.headers.get("content-encoding", "identity").strip().lower() != "identity"


_NOT_ENCODED = "only uploads may be compressed; send this body as it is, without Content-Encoding"

#: What the framework says, in words that help more.
_PLAINER = {
    "Extra inputs are not permitted": "there is no such field here, or it is not for callers to write",
    "Unexpected keyword argument": "there is no such field here",
    "Field required": "a value is required",
    "Input should have timezone info": "a moment with its time zone is expected, such as 2026-03-01T00:00:00Z",
}


def _flaw(fault: Mapping[str, Any], body: object) -> Flaw:
    where, *path = fault["loc"]
    said = str(fault["msg"]).removeprefix("Value error, ")
    detail, keyword = cut(_PLAINER.get(said, said)), str(fault["type"])
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
    """Return those steps of a path that lead into the body.

    Pydantic also names the branch of a union that it tried, which is nothing that was sent.
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
