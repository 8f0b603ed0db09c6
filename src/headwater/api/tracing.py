"""What surrounds each request: its id, its line in the log, and the answer if all fails."""

import re
import secrets
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.api.meters import Meters
from headwater.catalog.audit import done_by
from headwater.domain.spans import Span, Tracer, sound, span, under

log = structlog.get_logger("headwater.http")

HEADER = "x-request-id"
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_TOKEN = re.compile(r"(/actions/tasks/[^/.]*|\b[0-9a-f]{32})\.[\w-]{20,}")


def without_tokens(text: str) -> str:
    """Return a path, or a text that quotes one, without task tokens: they are in no log and no answer."""
    return _TOKEN.sub(r"\1.…", text)


def request_id_of(scope: Scope) -> str:
    """Return the id of a request."""
    return scope.get("headwater.request_id", "")


class Tracing:
    """Gives each request an id, logs it, and answers 500 to what nobody handled."""

    def __init__(
        self, app: ASGIApp, *, failed: Callable[[Request], Response], meters: Meters, tracer: Tracer | None = None
    ) -> None:
        """Answer 500 by ``failed``, count by ``meters``, and record spans by ``tracer`` if there is one."""
        self._app = app
        self._failed = failed
        self._meters = meters
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        scope["headwater.request_id"] = request_id
        began = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((HEADER.encode(), request_id.encode()))
            elif scope["method"] == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        # What can be read can be asked for without its body (RFC 9110, 9.3.2); the framework does not see to it.
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        with (
            structlog.contextvars.bound_contextvars(request=request_id),
            done_by(None),
            under(_traceparent(headers), tracer=self._tracer),
            span(scope["method"], {"headwater.request_id": request_id}, kind="server") as recorded,
        ):
            try:
                await self._app(inner, receive, answer)
            except Exception:
                log.exception("http.failed", method=scope["method"], path=without_tokens(scope["path"]))
                if status:
                    raise  # too late to answer: the connection must break, so that nobody takes a half for a whole
                await self._failed(Request(scope))(scope, receive, answer)
            finally:
                seconds = time.perf_counter() - began
                route = _route_of(inner)
                self._meters.answered(scope["method"], route, status, seconds=seconds)
                if recorded is not None:
                    _tell(recorded, scope["method"], route, status)
                log.info(
                    "http.answered",
                    method=scope["method"],
                    path=without_tokens(scope["path"]),
                    status=status,
                    ms=round(seconds * 1000, 1),
                )


def _traceparent(headers: Mapping[bytes, bytes]) -> str | None:
    return sound(headers.get(b"traceparent", b"").decode("latin-1"))


def _tell(recorded: Span, method: str, route: str, status: int) -> None:
    # The template, never the path: that may hold a token.
    facts = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    recorded.tell(facts, name=f"{method} {route}")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        recorded.failed(str(status))


def _route_of(scope: Scope) -> str:
    """Return the template of the path that was called: there are few, and none holds a token."""
    return getattr(scope.get("route"), "path", "none")


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(HEADER.encode(), b"")
    return given.decode() if _ACCEPTABLE.fullmatch(given) else secrets.token_hex(8)
