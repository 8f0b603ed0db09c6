"""Security headers, which keep a browser from misinterpreting a response."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Responses of the API are no pages: forbid loading, running and framing anything. The console says otherwise itself.
_POLICY = b"default-src 'none'; frame-ancestors 'none'"
DEFAULTS: Sequence[tuple[bytes, bytes]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", _POLICY),
)


class SecurityHeaders:
    """Adds the headers to every response that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap ``app``."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[tuple[bytes, bytes]] = message.setdefault("headers", [])
                present = {name.lower() for name, _ in headers}
                headers.extend(field for field in DEFAULTS if field[0] not in present)
            await send(message)

        await self._app(scope, receive, answer)
