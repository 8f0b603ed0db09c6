"""What surrounds each request: its id, its line in the log, a bound on its body, and the answer if all fails."""

import re
import secrets
import time
from collections.abc import Callable

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.domain.errors import RequestTooLarge

log = structlog.get_logger("headwater.http")

HEADER = "x-request-id"
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_TOKEN = re.compile(r"(/actions/tasks/[^/.]*)\.[^/]*")
_UPLOAD = re.compile(r"/actions/tasks/[^/]+/upload")


def safe_path(path: str) -> str:
    """Return a path without the token that it may hold: tokens are in no log and no answer."""
    return _TOKEN.sub(r"\1.…", path)


def request_id_of(scope: Scope) -> str:
    """Return the id of a request."""
    return scope.get("headwater.request_id", "")


class Tracing:
    """Gives each request an id, logs it, bounds its body, and answers 500 to what nobody handled."""

    def __init__(self, app: ASGIApp, *, max_request: int, failed: Callable[[Request], Response]) -> None:
        """Answer 500 by ``failed``; let in bodies of at most ``max_request`` bytes, uploads excepted."""
        self._app = app
        self._failed = failed
        self._max_request = max_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["headwater.request_id"] = request_id
        began = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((HEADER.encode(), request_id.encode()))
            await send(message)

        bounded = receive if _UPLOAD.fullmatch(scope["path"]) else _bounded(receive, self._max_request)
        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await self._app(scope, bounded, answer)
            except Exception:
                log.exception("http.failed", method=scope["method"], path=safe_path(scope["path"]))
                if status:
                    raise  # too late to answer: the connection must break, so that nobody takes a half for a whole
                await self._failed(Request(scope))(scope, receive, answer)
            finally:
                log.info(
                    "http.answered",
                    method=scope["method"],
                    path=safe_path(scope["path"]),
                    status=status,
                    ms=round((time.perf_counter() - began) * 1000, 1),
                )


def _bounded(receive: Receive, most: int) -> Receive:
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise RequestTooLarge(f"the body is over the limit of {most} bytes (setting max_request)")
        return message

    return bounded


def _request_id(scope: Scope) -> str:
    given = dict(scope["headers"]).get(HEADER.encode(), b"")
    return given.decode() if _ACCEPTABLE.fullmatch(given) else secrets.token_hex(8)
