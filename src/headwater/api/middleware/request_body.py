"""Middleware that checks the Host header, bounds request bodies, and drains them before an early response."""

import asyncio
import re

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.api.errors import handle
from headwater.domain.errors import RequestInvalid, RequestTimedOut, RequestTooLarge

#: Maximum bytes, and seconds, that are drained before an early response.
MOST_DRAINED = 64 << 20
DRAIN_FOR = 10.0
#: Seconds without data after which draining ends.
DRAIN_WHILE = 2.0

#: The path of an upload, with its task id.
UPLOAD = re.compile(r"/actions/tasks/([^/]+)/upload")

#: Paths whose bodies are streamed, and limited where they are stored.
_STREAMED = re.compile(r"/actions/tasks/[^/]+/(?:upload|log)")

#: A name, an IPv4 address or a bracketed IPv6 address, and an optional port.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")


class RequestBodyMiddleware:
    """Limits the size and duration of request bodies, except those of uploads and logs, which have their own."""

    def __init__(self, app: ASGIApp, *, max_request: int, request_timeout: float) -> None:
        """Reject bodies of more than ``max_request`` bytes, or that take longer than ``request_timeout`` seconds."""
        self._app = app
        self._max_request = max_request
        self._timeout = request_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _STREAMED.fullmatch(scope["path"]):
            body = _Body(receive, most=None, timeout=None)
        else:
            body = _Body(receive, most=self._max_request, timeout=self._timeout)
        waits = dict(scope["headers"]).get(b"expect", b"").lower() == b"100-continue"

        async def answer(message: Message) -> None:
            # Closing a connection while the client still sends resets it, and the response is lost, so the body is
            # drained first. But a client that expects 100-continue gets the response at once.
            if message["type"] == "http.response.start" and not body.ended and not (waits and not body.begun):
                await body.drain()
                if not body.ended:  # the rest would be parsed as the next request
                    message.setdefault("headers", []).append((b"connection", b"close"))
            await send(message)

        fault = _host_fault(scope)
        if fault is not None:
            await handle(Request(scope), RequestInvalid(fault))(scope, body.receive, answer)
            return
        await self._app(scope, body.receive, answer)


def _host_fault(scope: Scope) -> str | None:
    """Return what is wrong with the Host header; with two, a proxy may have used the other one."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        return f"the request has {len(hosts)} Host fields; send one"
    if not hosts:
        is_old = scope.get("http_version") == "1.0"
        return None if is_old else "the request has no Host field; send one, as HTTP/1.1 requires"
    if not _HOST.fullmatch(hosts[0]):
        return "the Host field is not a name or an address with an optional port"
    return None


class _Body:
    """The body of one request."""

    def __init__(self, receive: Receive, *, most: int | None, timeout: float | None) -> None:
        self._receive = receive
        self._most = most
        self._timeout = timeout
        self._deadline: float | None = None
        self._is_late = False
        self._taken = 0
        self.ended = False
        self.begun = False

    async def receive(self) -> Message:
        message = await self._next()
        self.begun = True
        self.ended = not message.get("more_body", False)
        self._taken += len(message.get("body", b""))
        if self._most is not None and self._taken > self._most:
            raise RequestTooLarge(f"the body is over the limit of {self._most} bytes (setting max_request)")
        return message

    async def _next(self) -> Message:
        if self.ended or self._timeout is None:
            return await self._receive()
        now = asyncio.get_running_loop().time()
        self._deadline = self._deadline or now + self._timeout
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive()
        except TimeoutError as error:
            self._is_late = True
            raise RequestTimedOut(
                f"the request's body did not arrive within {self._timeout:g} s (setting request_timeout)"
            ) from error

    async def drain(self) -> None:
        """Drain the rest of the body, up to MOST_DRAINED bytes or DRAIN_FOR seconds."""
        if self._is_late:
            return
        self._most = self._timeout = None
        taken = self._taken
        try:
            async with asyncio.timeout(DRAIN_FOR):
                while not self.ended and self._taken - taken < MOST_DRAINED:
                    async with asyncio.timeout(DRAIN_WHILE):
                        await self.receive()
        except TimeoutError:
            pass
