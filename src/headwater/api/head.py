"""HEAD requests for every GET route (RFC 9110, 9.3.2), which the framework does not provide."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path

from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

#: Set in the scope of a GET that was a HEAD, so that handlers can skip costly bodies.
IS_HEAD = "headwater.is_head"


def is_head(scope: Scope) -> bool:
    """Return whether the request is a HEAD."""
    return scope.get(IS_HEAD, False)


async def nothing() -> AsyncGenerator[bytes]:
    """Yield nothing: an empty body."""
    for piece in ():
        yield piece


def _nothing_held() -> None:
    """Release nothing."""


def file_response(
    scope: Scope,
    file: Path,
    *,
    media_type: str,
    headers: Mapping[str, str],
    release: Callable[[], None] = _nothing_held,
) -> Response:
    """Return the response with a file, whole or by ``Range``; to a HEAD, with its headers alone.

    A file that is sent to nobody would hold up the response for two seconds. ``release`` is called when it is sent, or
    if it will not be.

    Raises:
        FileNotFoundError: there is no such file.
    """
    try:
        response = _HeldFileResponse(file, release, media_type=media_type, headers=headers)
    except OSError:
        release()
        raise
    if not is_head(scope):
        return response
    release()
    return Response(headers=dict(response.headers))


class _HeldFileResponse(FileResponse):
    """Sends a file, and releases it at the end."""

    def __init__(self, file: Path, release: Callable[[], None], *, media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(file, media_type=media_type, headers=headers, stat_result=file.stat())
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._release()


class Head:
    """The response to a HEAD: sends the header only, then tells the application that the client has gone."""

    def __init__(self, receive: Receive, send: Send) -> None:
        """Wrap ``receive`` and ``send``."""
        self._receive = receive
        self._send = send
        self._is_answered = asyncio.Event()

    async def send(self, message: Message) -> None:
        """Send the header, and drop the body."""
        if self._is_answered.is_set() or message["type"] != "http.response.start":
            return
        await self._send(message)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self._is_answered.set()

    async def receive(self) -> Message:
        """Return the next message; once the header is sent, a disconnect, which ends streaming responses."""
        if self._is_answered.is_set():
            return {"type": "http.disconnect"}
        receiving = asyncio.ensure_future(self._receive())
        answered = asyncio.ensure_future(self._is_answered.wait())
        try:
            await asyncio.wait({receiving, answered}, return_when=asyncio.FIRST_COMPLETED)
            return await receiving if receiving.done() else {"type": "http.disconnect"}
        finally:
            receiving.cancel()
            answered.cancel()
