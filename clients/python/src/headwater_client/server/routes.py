"""The HTTP endpoints that Headwater calls, as an ASGI application."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headwater_client.server.guards import Guard
from headwater_client.server.queue import Leaving, NoRoom, RunQueue
from headwater_client.server.start_request import BackendUnknown, StartRequest, StartRequestInvalid

P = TypeVar("P")

#: Maximum size of a request body in bytes.
LONGEST_BODY = 1 << 20
#: ``Retry-After`` in seconds when the queue is full; Headwater tries 5 times.
RETRY_WHEN_FULL = 60
#: ``Retry-After`` in seconds during shutdown; another server will soon take over.
RETRY_WHEN_LEAVING = 10

_RUNNING = 102


class Refused(Exception):
    """An error response."""

    def __init__(self, status: HTTPStatus, *messages: str, **headers: str) -> None:
        """Create the error from its status, messages and headers."""
        self.status = status
        self.messages = messages
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__("; ".join(messages))


class Routes(Generic[P]):
    """The routes and their handlers."""

    def __init__(
        self,
        runs: RunQueue[P],
        guard: Guard,
        *,
        read: Callable[[bytes, str | None], StartRequest[P]],
        begin: Callable[[StartRequest[P]], str],
    ) -> None:
        """Serve ``runs``; ``read`` parses start requests, and ``begin`` starts them."""
        self._runs = runs
        self._guard = guard
        self._read = read
        self._begin = begin

    def app(self, lifespan: Callable[[Any], contextlib.AbstractAsyncContextManager[None]]) -> Starlette:
        """Return the application."""
        return Starlette(
            routes=[
                Route("/task", self._start, methods=["POST"]),
                Route("/task/{fid}/status", self._end, methods=["PATCH"]),
                Route("/healthz", self._health, methods=["GET"]),
            ],
            exception_handlers={Refused: _refused, HTTPException: _failed, Exception: _broken},
            lifespan=lifespan,
        )

    async def _start(self, request: Request) -> Response:
        """Accept a start request, and respond at once."""
        await self._require_allowed(request)
        body = await _body(request)
        try:
            order = self._read(body, request.query_params.get("version"))
            message = self._begin(order)
        except StartRequestInvalid as error:
            raise Refused(HTTPStatus.BAD_REQUEST, *error.messages) from error
        except BackendUnknown as error:
            raise Refused(HTTPStatus.FORBIDDEN, str(error)) from error
        except NoRoom as error:
            why = f"{self._runs.running} tasks run here and {self._runs.waiting} wait, which are all that may"
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, why, Retry_After=str(RETRY_WHEN_FULL)) from error
        except Leaving as error:
            why = "the crawler is shutting down"
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, why, Retry_After=str(RETRY_WHEN_LEAVING)) from error
        return _answer({"callback": f"/task/{order.fid}", "status": {"code": _RUNNING, "message": message}})

    async def _end(self, request: Request) -> Response:
        """End a task that Headwater has ended."""
        await self._require_allowed(request)
        await _body(request)
        fid = request.path_params["fid"]
        if not self._runs.end(fid):
            raise Refused(HTTPStatus.NOT_FOUND, f"no task {fid} runs here")
        return _answer(None)

    async def _health(self, _request: Request) -> Response:
        """Health check: the number of running and queued tasks."""
        return _answer({"running": self._runs.running, "waiting": self._runs.waiting})

    async def _require_allowed(self, request: Request) -> None:
        if not await self._guard.lets_pass(request):
            why = "this crawler is called with its secret: register it anew, so that its External's headers carry it"
            raise Refused(HTTPStatus.UNAUTHORIZED, why, WWW_Authenticate="Bearer")


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > LONGEST_BODY:
                why = f"a body has {LONGEST_BODY} bytes at most"
                raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, why, Connection="close")
    except ClientDisconnect as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "the body broke off") from error
    return bytes(body)


def _answer(payload: Any) -> Response:
    return JSONResponse({"success": True, "payload": payload})


def _refusal(status: int, *messages: str, headers: Any = None) -> Response:
    return JSONResponse({"success": False, "messages": list(messages)}, status, headers)


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refused):
        raise error
    return _refusal(error.status, *error.messages, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    """Respond to errors of the framework: unknown paths and methods."""
    if not isinstance(error, HTTPException):
        raise error
    why = f"{request.method} {request.url.path}: {error.detail}"
    return _refusal(error.status_code, why, headers=error.headers)


async def _broken(_request: Request, _error: Exception) -> Response:
    """Respond to an unexpected error, which is in the log."""
    return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the crawler failed to answer; its log says why")
