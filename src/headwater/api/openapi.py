"""The OpenAPI document: documented failures of routes, and corrections of what the framework generates."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.routing import BaseRoute

from headwater.api.errors import INTERNAL_DETAIL, INTERNAL_TITLE, MEDIA_TYPE, Problem, example_of, slug
from headwater.api.responses import EXAMPLE_FID
from headwater.domain import errors
from headwater.domain.errors import HeadwaterError

#: Reference to a schema in the document.
_SCHEMAS = "#/components/schemas/{model}"

#: Per status code: when it is returned, its most common error, and an example of that error's detail.
_WHEN: dict[int, tuple[str, type[HeadwaterError], str]] = {
    400: (
        "The request is not what it should be.",
        errors.RequestInvalid,
        "the request is invalid: /meta/name: Input should be a valid string",
    ),
    401: (
        "No key or token, or a wrong one.",
        errors.NotAuthenticated,
        "this needs an API key: send Authorization: Bearer <key>",
    ),
    403: ("The key lacks the scope.", errors.NotAllowed, "key 'nightly' has the scopes read; this needs write"),
    404: ("There is no such object.", errors.NotFound, f"there is no stream '{EXAMPLE_FID}'"),
    406: (
        "A document is invalid; nothing was kept.",
        errors.DocumentInvalid,
        "3 of 250 documents do not match the schema of External 'Reviews'; nothing of the upload was kept",
    ),
    409: (
        "The object's state does not allow it.",
        errors.TaskClosed,
        f"task {EXAMPLE_FID} ended with 200 (done) and takes nothing more; retry it to open it again",
    ),
    412: (
        "`If-Match` does not hold.",
        errors.VersionMismatch,
        "the object is at version 8; read it again and repeat your change",
    ),
    413: (
        "The body, or a document in it, is over its limit.",
        errors.DocumentTooLarge,
        "line 2 is over the limit of 16777216 bytes a document (setting max_document)",
    ),
    415: (
        "Content type or encoding is not supported.",
        errors.EncodingUnknown,
        "Content-Encoding 'br' is not supported; send one of gzip, deflate, zstd, or the plain body",
    ),
    422: (
        "The `Idempotency-Key` was used with another body.",
        errors.KeyReused,
        "Idempotency-Key 'batch-7' was used for another body; take a new key for new documents",
    ),
    429: (
        "Too much at once; `Retry-After` says when to go on.",
        errors.TooManyRequests,
        "key 'nightly' may make 600 requests a minute (setting requests_per_minute); go on in 1 s",
    ),
    507: (
        "The server's disk has no room for more documents.",
        errors.NoRoom,
        "less than 268435456 bytes are free on the server's disk (setting disk_reserve)",
    ),
    503: ("Not now; `Retry-After` says when.", errors.Unavailable, "the database does not answer"),
}


def fails(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that can fail with these, besides those of every route."""
    return {status: _failure(status, *_WHEN[status]) for status in statuses}


def _failure(status: int, when: str, kind: type[HeadwaterError], detail: str) -> dict[str, Any]:
    return _failed(when, example_of(slug(kind), kind.title(), status, detail))


def _failed(when: str, example: dict[str, Any]) -> dict[str, Any]:
    # Referenced, not given as a model: FastAPI would build a validator for each of a thousand failures.
    schema = {"$ref": _SCHEMAS.format(model=Problem.__name__)}
    return {"description": when, "content": {"application/json": {"schema": schema, "example": example}}}


#: Failures of every route.
ANYWHERE: dict[int | str, dict[str, Any]] = {
    **fails(400, 401, 403, 429, 503),
    500: _failed(
        "Something failed inside; the log has the reason beside the request's id.",
        example_of("internal", INTERNAL_TITLE, 500, INTERNAL_DETAIL),
    ),
}


class StartRequest(BaseModel):
    """The request that starts a task at an EC."""

    fid: str
    params: dict[str, Any]
    credential: dict[str, Any] | None
    endpoint: str = Field(description="Append `/upload` or `/status`; it holds the token.")
    token: str = Field(description="For `Authorization: Bearer`, where the plain endpoint is used.")


class StartStatus(BaseModel):
    """The status of the task at the EC."""

    code: int = Field(102, description="0 or none counts as 102.")
    message: str | None = None
    detail: Any = None


class StartPayload(BaseModel):
    """The EC's status of the task."""

    callback: str | None = Field(default=None, description="Absolute, or appended to the External's endpoint.")
    status: StartStatus | None = None


class StartAnswer(BaseModel):
    """An EC's response to a start: 2xx within 30 seconds."""

    success: bool = True
    payload: StartPayload | None = None


class EndRequest(BaseModel):
    """The request that notifies an EC that its task was ended by BE or by a person."""

    code: int = Field(description="408 (it was silent) or 410 (stopped or deleted).")
    message: str | None
    detail: Any = None


#: Placeholder for the External's ``endpoint``, which responses that start a task do not contain.
_EC = "https://crawler.example"


def ec_calls(after: str) -> list[BaseRoute]:
    """Return the calls that BE makes to the EC ``after`` an operation, as OpenAPI callbacks."""
    router = APIRouter()

    @router.post(f"{_EC}/task", response_model=StartAnswer, name=f"ec_start_after_{after}")
    def start(body: StartRequest, version: int) -> None:  # pyright: ignore[reportUnusedFunction]
        """Start a task at the EC: below the External's `endpoint`, with its `headers`.

        Connection errors, 429 and 5xx are retried with backoff; any other 4xx fails the task.
        """

    @router.patch(
        f"{_EC}/task/{{$response.body#/payload/fid}}/status",
        name=f"ec_end_after_{after}",
    )
    def end(body: EndRequest, version: int) -> None:  # pyright: ignore[reportUnusedFunction]
        """Notify the EC, at its callback, that its task has ended. 404, 405 and 501 count as success."""

    return router.routes


def operation_id(route: APIRoute) -> str:
    """Return the operation id, which generated clients use as a method name: the handler's name."""
    return route.name


def _too_large() -> dict[str, Any]:
    """Return the failure of every route that has a body."""
    detail = "the body is over the limit of 8388608 bytes (setting max_request)"
    return _failure(413, "The body is over its limit.", errors.RequestTooLarge, detail)


def install(app: FastAPI) -> None:
    """Install the corrected OpenAPI document in an application."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = described()
            _fix(document["paths"])
            schemas = document["components"]["schemas"]
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            described_problem = Problem.model_json_schema(mode="serialization", ref_template=_SCHEMAS)
            problem = jsonable_encoder(described_problem, exclude_none=True)
            schemas |= problem.pop("$defs") | {Problem.__name__: problem}
            document["components"]["schemas"] = dict(sorted(schemas.items()))
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi


def _fix(paths: dict[str, Any]) -> None:
    for path in paths.values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                _fix_parameter(parameter)
            if "requestBody" in operation:
                operation["responses"].setdefault("413", _too_large())
            _fix_responses(operation["responses"])
            for callback in operation.get("callbacks", {}).values():
                _fix(callback)


def _fix_parameter(parameter: dict[str, Any]) -> None:
    # An absent parameter is null for the framework, but a query or header cannot express null.
    schema = parameter["schema"]
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        parameter["schema"] = {**kinds[0], **schema}


def _fix_responses(responses: dict[str, Any]) -> None:
    # The framework declares 422 for malformed requests; we return 400.
    shape = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
    if shape.endswith("HTTPValidationError"):
        del responses["422"]
    for status, response in responses.items():
        content = response.get("content", {})
        if int(status) >= 400 and "application/json" in content:  # noqa: PLR2004 - where HTTP's errors begin
            content[MEDIA_TYPE] = content.pop("application/json")
