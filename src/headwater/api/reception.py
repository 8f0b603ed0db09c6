"""How request bodies come in: bounded, and read on before an early answer, so that the answer is heard."""

import asyncio
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.domain.errors import RequestTooLarge

#: So many bytes, and for so many seconds, are read and thrown away before an answer that comes early.
MOST_DRAINED = 64 << 20
DRAIN_FOR = 10.0
#: From a client that sends nothing for so many seconds no more is awaited.
DRAIN_WHILE = 2.0

#: The path of an upload, with what names its task.
UPLOAD = re.compile(r"/actions/tasks/([^/]+)/upload")


class Reception:
    """Bounds bodies, those of uploads excepted, which have limits of their own."""

    def __init__(self, app: ASGIApp, *, max_request: int) -> None:
        """Let in bodies of at most ``max_request`` bytes."""
        self._app = app
        self._max_request = max_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, most=None if UPLOAD.fullmatch(scope["path"]) else self._max_request)
        waits = dict(scope["headers"]).get(b"expect", b"").lower() == b"100-continue"

        async def answer(message: Message) -> None:
            # A connection that is closed on a client that still sends is reset, and the answer lost with
            # it. But a client that asks before it sends shall hear the answer at once.
            if message["type"] == "http.response.start" and not body.ended and not (waits and not body.begun):
                await body.drain()
                if not body.ended:  # what is still to come would be taken for the next request
                    message.setdefault("headers", []).append((b"connection", b"close"))
            await send(message)

        await self._app(scope, body.receive, answer)


class _Body:
    """One request's body as it comes in."""

    def __init__(self, receive: Receive, *, most: int | None) -> None:
        self._receive = receive
        self._most = most
        self._taken = 0
        self.ended = False
        self.begun = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.begun = True
        self.ended = not message.get("more_body", False)
        self._taken += len(message.get("body", b""))
        if self._most is not None and self._taken > self._most:
            raise RequestTooLarge(f"the body is over the limit of {self._most} bytes (setting max_request)")
        return message

    async def drain(self) -> None:
        """Read what is left, within reason."""
        self._most = None
        taken = self._taken
        try:
            async with asyncio.timeout(DRAIN_FOR):
                while not self.ended and self._taken - taken < MOST_DRAINED:
                    async with asyncio.timeout(DRAIN_WHILE):
                        await self.receive()
        except TimeoutError:
            pass
