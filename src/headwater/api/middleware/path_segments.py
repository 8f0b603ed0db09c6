"""Middleware that keeps encoded slashes in path segments encoded."""

from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

#: What follows is a document's id, in which slashes are literal, encoded or not.
_DOCUMENTS = b"/docs/"


class Segments:
    """Keeps an encoded slash within its segment, so that a value in a path cannot turn it into another path.

    Servers decode a path as a whole, so that ``DELETE /streams/x%2Fdocs%2Fy`` would erase a document. With this
    middleware, ``x%2Fdocs%2Fy`` is an fid, which does not exist.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap ``app``."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        raw: bytes = scope.get("raw_path") or b""
        if b"%2" in raw and scope["type"] == "http":
            head, mark, doc_id = raw.partition(_DOCUMENTS)
            if b"%2f" in head.lower():
                segments = [unquote_to_bytes(part).replace(b"/", b"%2F") for part in head.split(b"/")]
                path = b"/".join(segments) + mark + unquote_to_bytes(doc_id)
                scope["path"] = path.decode("utf-8", "replace")
        await self._app(scope, receive, send)
