"""Middleware that gives each request its id, log line, metrics and span, and the 500 response on unhandled errors."""

import re
import secrets
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.api.head import IS_HEAD, Head
from headwater.api.monitoring.metrics import Metrics
from headwater.api.request_ids import loggable
from headwater.catalog.audit import acting_as
from headwater.domain.tracing import Span, Tracer, sound, span, under

log = structlog.get_logger("headwater.http")

HEADER = "x-request-id"
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class RequestContextMiddleware:
    """Gives each request an id, logs and counts it, and responds 500 to unhandled errors."""

    def __init__(
        self, app: ASGIApp, *, failed: Callable[[Request], Response], metrics: Metrics, tracer: Tracer | None = None
    ) -> None:
        """Build the 500 response with ``failed``, count with ``metrics``, and record spans with ``tracer`` if given."""
        self._app = app
        self._failed = failed
        self._metrics = metrics
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
            await send(message)

        inner, inner_receive, inner_send = scope, receive, answer
        if scope["method"] == "HEAD":
            head = Head(receive, answer)
            inner, inner_receive, inner_send = {**scope, "method": "GET", IS_HEAD: True}, head.receive, head.send
        with (
            structlog.contextvars.bound_contextvars(request=request_id),
            acting_as(None),
            under(_traceparent(headers), tracer=self._tracer),
            span(scope["method"], {"headwater.request_id": request_id}, kind="server") as recorded,
        ):
            try:
                await self._app(inner, inner_receive, inner_send)
            except Exception:
                log.exception(
                    "http.failed", method=scope["method"], path=loggable(scope["path"], is_known="route" in inner)
                )
                if status:
                    raise  # aborts the connection: a partial response must not look complete
                await self._failed(Request(scope))(scope, inner_receive, inner_send)
            finally:
                seconds = time.perf_counter() - began
                route = _route_of(inner)
                self._metrics.answered(scope["method"], route, status, seconds=seconds)
                if recorded is not None:
                    _describe(recorded, scope["method"], route, status)
                log.info(
                    "http.answered",
                    method=scope["method"],
                    path=loggable(scope["path"], is_known="route" in inner),
                    status=status,
                    ms=round(seconds * 1000, 1),
                )


def _traceparent(headers: Mapping[bytes, bytes]) -> str | None:
    return sound(headers.get(b"traceparent", b"").decode("latin-1"))


def _describe(recorded: Span, method: str, route: str, status: int) -> None:
    # The path template, not the path, which may hold a token.
    facts = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    recorded.tell(facts, name=f"{method} {route}")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        recorded.failed(str(status))


def _route_of(scope: Scope) -> str:
    """Return the template of the matched path: there are few of them, and none holds a token."""
    return getattr(scope.get("route"), "path", "none")


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(HEADER.encode(), b"")
    return given.decode() if _ACCEPTABLE.fullmatch(given) else secrets.token_hex(8)
