"""Cross-origin requests of web pages (CORS): which origins may call what, preflights, and refusals."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.api.errors import handle
from headwater.domain.errors import OriginNotAllowed
from headwater.domain.origin import ANY, authority

#: Paths with a task's token are open to every origin: the token is the secret, and no cookie goes with it.
_TOKEN_PATH = re.compile(r"/actions/tasks/[^/.]+\.[^/]+/(?:upload|status|log)")
#: Methods that change nothing: a page of another origin may send them, and cannot read the response.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
#: Any header: ``*`` stands for all but Authorization.
_HEADERS = b"*, Authorization"
#: Seconds for which a browser may remember a preflight; the most that Chromium allows.
_MAX_AGE = b"7200"
#: What a page may read beside the headers that it always may.
EXPOSED = (
    "Location",
    "Retry-After",
    "ETag",
    "Link",
    "Idempotency-Replayed",
    "Preference-Applied",
    "Content-Disposition",
    "Headwater-Skipped-Segments",
    "X-Request-ID",
)
_EXPOSED = ", ".join(EXPOSED).encode()


@dataclass(frozen=True, kw_only=True)
class CorsPolicy:
    """Which origins may call the server."""

    #: Origins as browsers send them, ``https://shop.example``; or ``*``.
    origins: Sequence[str]
    #: The server's own URL, for where a proxy changes the Host header.
    public_url: str

    def allowed_origin(self, scope: Scope, origin: bytes) -> bytes | None:
        """Return the value of Access-Control-Allow-Origin for a request; None if its origin is not allowed."""
        if _TOKEN_PATH.fullmatch(scope["path"]) or ANY in self.origins:
            return b"*"
        text = origin.decode("latin-1")
        return origin if text in self.origins or self._is_own(scope, text) else None

    def _is_own(self, scope: Scope, origin: str) -> bool:
        """Return whether an origin is the server's own: browsers send it with a POST to the same origin, too."""
        sent = authority(origin)
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        # By the scheme of the origin: a proxy in front of the server may speak another one to it.
        return sent is not None and sent in {
            authority(f"{origin.partition(':')[0]}://{host}"),
            authority(self.public_url),
        }


class CorsHeaders:
    """Adds the headers that let pages of allowed origins read responses, errors included."""

    def __init__(self, app: ASGIApp, *, policy: CorsPolicy) -> None:
        """Wrap ``app``."""
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        origin = _origin(scope) if scope["type"] == "http" else None
        allowed = None if origin is None else self._policy.allowed_origin(scope, origin)
        if origin is None:
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[tuple[bytes, bytes]] = message.setdefault("headers", [])
                if allowed is not None:
                    headers.append((b"access-control-allow-origin", allowed))
                    headers.append((b"access-control-expose-headers", _EXPOSED))
                if allowed != b"*":
                    headers.append((b"vary", b"Origin"))
            await send(message)

        await self._app(scope, receive, answer)


class CorsGate:
    """Answers preflights, and refuses changes by pages of other origins before their bodies are taken.

    Otherwise a page would be told that its upload failed, although it was stored, and would send it again.
    """

    def __init__(self, app: ASGIApp, *, policy: CorsPolicy) -> None:
        """Wrap ``app``."""
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        origin = _origin(scope) if scope["type"] == "http" else None
        if origin is None:
            await self._app(scope, receive, send)
            return
        is_preflight = scope["method"] == "OPTIONS" and any(
            name == b"access-control-request-method" for name, _ in scope["headers"]
        )
        is_allowed = self._policy.allowed_origin(scope, origin) is not None
        if not is_allowed and (is_preflight or scope["method"] not in _SAFE):
            await handle(Request(scope), _refusal(origin))(scope, receive, send)
        elif is_preflight:
            await _preflight()(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _origin(scope: Scope) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == b"origin"), None)


def _preflight() -> Response:
    response = Response(status_code=204)
    response.raw_headers.extend(
        [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _HEADERS),
            (b"access-control-max-age", _MAX_AGE),
        ]
    )
    return response


def _refusal(origin: bytes) -> OriginNotAllowed:
    text = origin.decode("latin-1")
    return OriginNotAllowed(
        f"pages of {text!r} may not call this; an operator can allow it with the setting cors_origins, and a task's "
        "own endpoint, {fid}.{token}, is open to every origin"
    )
