"""Parsing of a task's endpoint and token."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

#: Characters of a fid, none of which is special in a path.
_FID = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Endpoint:
    """A task's URL and its token."""

    #: Scheme and host.
    base: str
    #: ``…/actions/tasks/{fid}``, including any path prefix of the server.
    path: str
    fid: str
    token: str | None

    @classmethod
    def of(cls, endpoint: str, token: str | None) -> Endpoint:
        """Parse an endpoint, which may contain the token. The token is sent in a header, because paths are logged.

        Raises:
            ValueError: it is not the URL of a task.
        """
        parts = urlsplit(endpoint.rstrip("/"))
        head, _, name = parts.path.rpartition("/")
        fid, _, held = name.partition(".")
        is_url = parts.scheme in {"http", "https"} and bool(parts.netloc)
        if not is_url or not head.endswith("/actions/tasks") or not _FID.fullmatch(fid):
            # The URL is left out of the message: it may contain a token.
            raise ValueError("a task's endpoint looks like https://headwater.example.org/actions/tasks/{fid}.{token}")
        return cls(base=f"{parts.scheme}://{parts.netloc}", path=f"{head}/{fid}", fid=fid, token=token or held or None)
