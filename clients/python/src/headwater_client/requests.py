"""API calls as values, independent of how they are sent.

Each resource of the API is written once, as methods that return a ``Call`` or a ``Paginator``. The transport of the
client sends it: ``SyncTransport`` returns the result, ``AsyncTransport`` returns an awaitable.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)
from urllib.parse import quote

import httpx

from headwater_client.errors import Problem, Unsendable, problem_class
from headwater_client.models.objects import Object
from headwater_client.retry import asked_pause

if TYPE_CHECKING:
    from headwater_client.transport import AsyncTransport, SyncTransport

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D", bound="SyncTransport | AsyncTransport")

#: An object or its fid.
Ref = Object | str


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and how to read its response."""

    method: str
    path: str
    #: Reads the result from a 2xx response.
    read: Callable[[httpx.Response], T]
    #: Query parameters; None values are omitted.
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    #: Returns the body, for each attempt anew.
    content: Callable[[], bytes | Iterable[bytes]] | None = None
    #: Whether the call is idempotent.
    is_harmless: bool = False
    #: File that the response body is streamed to; such a response has no content.
    into: Path | None = None
    #: Read timeout of one attempt in seconds; None is the client's default.
    retry_for: float | None = None
    #: Seconds to wait before sending, for a call that resumes after a response has ended.
    pause: float = 0.0


class Pieces(Enum):
    """The chunks that a paginator consumes."""

    ANSWERS = "whole answers"
    LINES = "lines of an answer"
    BYTES = "bytes, as they come"


def cutter(kind: Pieces) -> Callable[[bytes], Iterable[bytes]]:
    """Return a function that splits the bytes of a response, as they arrive, into chunks of a kind."""
    rest = b""

    def lines(piece: bytes) -> Iterable[bytes]:
        # Split at LF only: other line separators may occur within a document.
        nonlocal rest
        *whole, rest = (rest + piece).split(b"\n")
        return whole

    return lines if kind is Pieces.LINES else lambda piece: (piece,)


class Paginator(Protocol[T_co]):
    """A list that is fetched by several calls, or a streamed response."""

    @property
    def call(self) -> Call[Any] | None:
        """The next call; None at the end."""
        ...

    @property
    def pieces(self) -> Pieces:
        """The kind of chunks that ``take`` consumes."""
        ...

    def take(self, piece: bytes) -> Iterable[T_co]:
        """Consume a chunk, and return its items."""
        ...


class Resource(Generic[D]):
    """A resource of the API, bound to a transport."""

    def __init__(self, driver: D) -> None:
        """Send calls through ``driver``."""
        self._driver = driver

    @property
    def driver(self) -> D:
        """The transport."""
        return self._driver


class _Method(Generic[P, T]):
    """Descriptor of a method that describes a call; accessed through a resource, it sends the call."""

    #: Name of the transport's method.
    method: ClassVar[str]

    def __init__(self, function: Callable[Concatenate[Any, P], T]) -> None:
        """Wrap a method of a resource."""
        self._function = function
        functools.update_wrapper(self, function)  # pyright: ignore[reportArgumentType] - it is called through __get__

    def _bound(self, resource: Resource[Any] | None) -> Any:
        """Return the bound method that sends the call; accessed through the class, the descriptor."""
        if resource is None:
            return self

        @functools.wraps(self._function)
        def call(*args: Any, **options: Any) -> Any:
            return getattr(resource.driver, self.method)(self._function(resource, *args, **options))

        return call


class endpoint(_Method[P, Call[T]]):  # noqa: N801 - a decorator
    """Decorator: turns a method that returns a ``Call`` into one that returns its result, or an awaitable."""

    method = "send"

    @overload
    def __get__(self, resource: Resource[SyncTransport], owner: object = None) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, resource: Resource[AsyncTransport], owner: object = None
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, resource: Resource[Any], owner: object = None) -> Any:
        """Return the bound method."""
        return self._bound(resource)


class paginated(_Method[P, Paginator[T]]):  # noqa: N801 - a decorator
    """Decorator: turns a method that returns a ``Paginator`` into one that returns an iterator, or an async one."""

    method = "iterate"

    @overload
    def __get__(self, resource: Resource[SyncTransport], owner: object = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, resource: Resource[AsyncTransport], owner: object = None) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, resource: Resource[Any], owner: object = None) -> Any:
        """Return the bound method."""
        return self._bound(resource)


#: Path segments that would change the path.
_NO_FID = {"", ".", ".."}
#: Document ids that no client, proxy or server rewrites in a path.
_PLAIN_ID = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*")


def fid_of(ref: Ref) -> str:
    """Return the fid of an object, or a given fid, as a path segment.

    Raises:
        Unsendable: it would change the path.
    """
    fid = ref.fid if isinstance(ref, Object) else ref
    if fid in _NO_FID or "/" in fid or "\\" in fid:
        raise Unsendable(f"{fid!r} is not a fid; a fid is 32 hex digits")
    return quote(require_text(fid), safe="")


def document_path(stream: Ref, doc_id: str, behind: str = "") -> tuple[str, dict[str, Any]]:
    """Return path and parameters of a call about a document: a plain id goes into the path, any other into the query.

    Clients and proxies normalize paths: ``..`` is resolved, ``//`` becomes ``/``. Query parameters are left alone.

    Raises:
        Unsendable: the id contains a lone surrogate.
    """
    path = f"/streams/{fid_of(stream)}"
    if _PLAIN_ID.fullmatch(doc_id) and doc_id != "history":
        return f"{path}/docs/{doc_id}{behind}", {}
    return f"{path}/doc{behind}", {"id": require_text(doc_id)}


def require_text(value: str) -> str:
    """Return a string unchanged.

    Raises:
        Unsendable: it contains a lone surrogate, which UTF-8 cannot encode.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unsendable(f"{value!r} holds half of a surrogate pair, which is no character") from None
    return value


def payload_of(answer: httpx.Response) -> Any:
    """Return the payload of a response."""
    return answer.json()["payload"]


def reading(kind: Callable[[Mapping[str, Any]], T]) -> Callable[[httpx.Response], T]:
    """Return a function that reads a response's payload by ``kind``."""
    return lambda answer: kind(payload_of(answer))


def given(**values: Any) -> dict[str, Any]:
    """Return the arguments that are not None."""
    return {name: value for name, value in values.items() if value is not None}


@dataclass
class Pages(Generic[T]):
    """A list of the API, fetched page by page."""

    path: str
    kind: Callable[[Mapping[str, Any]], T]
    params: dict[str, Any]
    pieces: Pieces = Pieces.ANSWERS
    call: Call[Any] | None = None

    def __post_init__(self) -> None:
        """Prepare the first page."""
        self.call = self._page(None)

    def take(self, piece: bytes) -> Iterable[T]:
        """Consume a page, and return its items."""
        body = json.loads(piece)
        following = body.get("next_cursor")
        self.call = None if following is None else self._page(following)
        return map(self.kind, body["payload"])

    def _page(self, cursor: str | None) -> Call[Any]:
        return Call("GET", self.path, payload_of, params={**self.params, "cursor": cursor}, is_harmless=True)


def problem_of(answer: httpx.Response) -> Problem:
    """Return the error for a response; for a response of a proxy, one with its status."""
    status_line = f"{answer.status_code} {answer.reason_phrase}"
    members: dict[str, Any] = {"title": answer.reason_phrase, "detail": status_line}
    with contextlib.suppress(ValueError):
        body: Any = answer.json()
        members = cast("dict[str, Any]", body) if isinstance(body, dict) else members
    return problem_class(str(members.get("type")))(answer.status_code, members, retry_after=asked_pause(answer))
