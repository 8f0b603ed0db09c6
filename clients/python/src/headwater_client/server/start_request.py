"""The start request: the body of ``POST /task``, by which Headwater starts a task."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast
from urllib.parse import SplitResult, urlsplit

from headwater_client.server.params import Params, ParamsUnfit

P = TypeVar("P")

#: Safe as a path segment.
_FID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NAME = re.compile(r"(?P<fid>[A-Za-z0-9_-]{1,128})(?:\.(?P<token>[A-Za-z0-9_-]+))?")
_TASKS = "/actions/tasks"
_PORTS = {"http": 80, "https": 443}


class StartRequestInvalid(ValueError):
    """The start request is invalid, or does not fit this crawler."""

    def __init__(self, *messages: str) -> None:
        """Create the error from one sentence per problem."""
        self.messages = messages
        super().__init__("; ".join(messages))


class BackendUnknown(Exception):
    """The start request names a backend that this crawler does not upload to."""


@dataclass(frozen=True)
class StartRequest(Generic[P]):
    """A task to start."""

    fid: str
    params: P
    #: Credentials for the source.
    credential: Mapping[str, Any] | None = field(repr=False)
    #: Upload endpoint, without the token.
    endpoint: str
    #: Token of this attempt; a retry has another one.
    token: str | None = field(repr=False)
    #: The External's version.
    version: int | None

    @property
    def attempt(self) -> tuple[str, str, str | None]:
        """Identity of this attempt."""
        return self.fid, self.endpoint, self.token


def read_start_request(
    body: bytes, version: str | None, params: Params[P], backends: Sequence[str] | None
) -> StartRequest[P]:
    """Read the body of ``POST /task``.

    Args:
        body: the request body.
        version: the External's version, from the query.
        params: validates the task's params.
        backends: URLs of Headwater servers that this crawler uploads to; None is any.

    Raises:
        StartRequestInvalid: it is invalid.
        BackendUnknown: its backend is not allowed.
    """
    order = _object(body)
    fid = order.get("fid")
    if not isinstance(fid, str) or not _FID.fullmatch(fid):
        raise StartRequestInvalid("fid: expected the task's id, of letters, digits, - and _")
    endpoint, held = _endpoint(order.get("endpoint"), backends)
    token = order.get("token") or held
    credential, given = order.get("credential"), order.get("params")
    if token is not None and not isinstance(token, str):
        raise StartRequestInvalid("token: expected a string")
    if not (credential is None or isinstance(credential, dict)) or not (given is None or isinstance(given, dict)):
        raise StartRequestInvalid("params, credential: expected objects")
    if version is not None and not version.isdecimal():
        raise StartRequestInvalid("version: expected a number")
    try:
        read = params.read(cast("dict[str, Any]", given or {}))
    except ParamsUnfit as error:
        raise StartRequestInvalid(*error.messages) from error
    return StartRequest(
        fid=fid,
        params=read,
        credential=cast("dict[str, Any] | None", credential),
        endpoint=endpoint,
        token=token,
        version=None if version is None else int(version),
    )


def require_backends(urls: Sequence[str]) -> tuple[str, ...]:
    """Validate the URLs of backends.

    Raises:
        ValueError: one is invalid.
    """
    for url in urls:
        if _parts(url) is None:
            raise ValueError(f"a backend looks like https://headwater.example.org, and not like {url!r}")
    return tuple(urls)


def _object(body: bytes) -> dict[str, Any]:
    try:
        order: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise StartRequestInvalid(f"the body is not JSON: {error}") from None
    if not isinstance(order, dict):
        raise StartRequestInvalid("the body is not an object")
    return cast("dict[str, Any]", order)


def _endpoint(endpoint: Any, backends: Sequence[str] | None) -> tuple[str, str | None]:
    """Return an endpoint without its token, and the token."""
    parts = _parts(endpoint) if isinstance(endpoint, str) else None
    if parts is None:
        raise StartRequestInvalid(
            "endpoint: expected where to upload, as in https://headwater.example.org/actions/tasks/…"
        )
    head, _, name = parts.path.rstrip("/").rpartition("/")
    found = _NAME.fullmatch(name)
    if found is None or not head.endswith(_TASKS):
        raise StartRequestInvalid(f"endpoint: expected …{_TASKS}/, and a task")
    base = f"{parts.scheme}://{parts.netloc}{head[: -len(_TASKS)]}"
    if backends is not None:
        base = _known(base, backends)
    return f"{base}{_TASKS}/{found['fid']}", found["token"]


def _known(base: str, backends: Sequence[str]) -> str:
    """Return the allowed backend that matches a base URL; the caller's spelling is not used."""
    for backend in backends:
        if _place(base) == _place(backend):
            return backend.rstrip("/")
    raise BackendUnknown(f"this crawler does not upload to {base}")


def _place(url: str) -> tuple[str, str | None, int | None, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme), parts.path.rstrip("/")


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        has_place = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    # A user name can make a URL look like one of another host.
    return parts if has_place and parts.username is None and not parts.query and not parts.fragment else None
