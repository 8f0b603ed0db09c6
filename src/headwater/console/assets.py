"""The console's own files: stylesheet, scripts, icons. Their URLs hold their digests, so that browsers keep them."""

import gzip
import mimetypes
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).with_name("static")
#: The prefix of their URLs.
URL = "/console/static"
_FOR_EVER = "public, max-age=31536000, immutable"
_TEXTS = {".css", ".js", ".svg"}


@dataclass(frozen=True)
class Asset:
    """A file that pages load."""

    content: bytes
    media_type: str
    is_text: bool

    @cached_property
    def digest(self) -> str:
        """The part of its digest that stands in its URL."""
        return sha256(self.content).hexdigest()[:12]

    @cached_property
    def compressed(self) -> bytes:
        """The file, compressed."""
        return gzip.compress(self.content, mtime=0)


@cache
def asset(name: str) -> Asset:
    """Return a file by its path within the folder.

    Raises:
        KeyError: there is none.
    """
    if name not in _names():
        raise KeyError(name)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Asset((FOLDER / name).read_bytes(), kind, Path(name).suffix in _TEXTS)


@cache
def _names() -> frozenset[str]:
    return frozenset(str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*") if file.is_file())


def url_of(name: str) -> str:
    """Return the URL of a file."""
    return f"{URL}/{asset(name).digest}/{name}"


async def serve(request: Request) -> Response:
    """Return a file; under another digest than its own, it is not kept by anybody."""
    try:
        found = asset(request.path_params["name"])
    except KeyError:
        return Response("There is no such file.", 404, media_type="text/plain")
    is_present = request.path_params["digest"] == found.digest
    headers = {"Cache-Control": _FOR_EVER if is_present else "no-cache", "Vary": "Accept-Encoding"}
    content = found.content
    if found.is_text and "gzip" in request.headers.get("accept-encoding", ""):
        content, headers = found.compressed, headers | {"Content-Encoding": "gzip"}
    return Response(content, media_type=found.media_type, headers=headers)
