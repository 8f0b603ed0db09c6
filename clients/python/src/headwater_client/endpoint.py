"""A task's endpoint, taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Endpoint:
    """Where a task is, and what opens it."""

    #: Scheme and host.
    base: str
    #: ``/actions/tasks/{fid}``, whatever stands before it on that host included.
    path: str
    fid: str
    token: str | None

    @classmethod
    def of(cls, endpoint: str, token: str | None) -> Endpoint:
        """Take an endpoint apart, which may hold the token; it is not sent there, for paths are logged.

        Raises:
            ValueError: it is no URL of a task.
        """
        parts = urlsplit(endpoint.rstrip("/"))
        head, _, name = parts.path.rpartition("/")
        fid, _, held = name.partition(".")
        if parts.scheme not in {"http", "https"} or not parts.netloc or not head.endswith("/actions/tasks"):
            # Not shown whole: a token may be in it.
            raise ValueError("a task's endpoint looks like https://headwater.example.org/actions/tasks/{fid}.{token}")
        return cls(base=f"{parts.scheme}://{parts.netloc}", path=f"{head}/{fid}", fid=fid, token=token or held or None)
