"""What is asked of Headwater, as values that say all of a call and do nothing.

A part of the API is written once, as functions that return questions. Who asks them is decided by the client that the
part belongs to: a blocking one answers, an awaiting one returns what is to be awaited.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Generic, Protocol, TypeVar, Union, cast, overload
from urllib.parse import quote

import httpx

from headwater_client.errors import Problem, problem_class
from headwater_client.objects import Object
from headwater_client.patience import asked_pause

if sys.version_info >= (3, 10):
    from typing import Concatenate, ParamSpec
else:
    from typing_extensions import Concatenate, ParamSpec

if TYPE_CHECKING:
    from headwater_client.asking import Awaiting, Blocking

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D", bound="Blocking | Awaiting")

#: An object, or its fid.
Ref = Union[Object, str]


@dataclass(frozen=True)
class Question(Generic[T]):
    """A request, and how its answer is read."""

    method: str
    path: str
    #: What the caller gets of an answer that is 2xx.
    read: Callable[[httpx.Response], T]
    #: Those that are None are left away.
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    #: The body, made anew for each try.
    content: Callable[[], bytes | Iterable[bytes]] | None = None
    #: Whether doing it twice is the same as doing it once.
    is_harmless: bool = False
    #: Where the answer's body is written, piece by piece; such an answer has no content.
    into: Path | None = None
    #: Seconds without a byte after which the try has failed; None is the client's.
    patience: float | None = None
    #: Seconds before it is asked, of one that goes on where an answer ended that should not.
    pause: float = 0.0


class Pieces(Enum):
    """What a list comes in."""

    ANSWERS = "whole answers"
    LINES = "lines of an answer"
    BYTES = "bytes, as they come"


def cutter(kind: Pieces) -> Callable[[bytes], Iterable[bytes]]:
    """Return what cuts an answer's bytes, as they come, into pieces."""
    rest = b""

    def lines(piece: bytes) -> Iterable[bytes]:
        # Lines end in LF alone: what else a text is cut at may stand within a document.
        nonlocal rest
        *whole, rest = (rest + piece).split(b"\n")
        return whole

    return lines if kind is Pieces.LINES else lambda piece: (piece,)


class Walk(Protocol[T_co]):
    """A list that is asked for piece by piece."""

    @property
    def question(self) -> Question[Any] | None:
        """What is to be asked next; None at the end."""
        ...

    @property
    def pieces(self) -> Pieces:
        """What its pieces are."""
        ...

    def take(self, piece: bytes) -> Iterable[T_co]:
        """Return what a piece tells."""
        ...


class Part(Generic[D]):
    """A part of the API, asked in one of the two ways."""

    def __init__(self, driver: D) -> None:
        """Ask through ``driver``."""
        self._driver = driver

    @property
    def driver(self) -> D:
        """What asks."""
        return self._driver


class _Method(Generic[P, T]):
    """A function of a part that says what is asked; through a part, it asks."""

    #: What of a driver asks.
    way: ClassVar[str]

    def __init__(self, asked: Callable[Concatenate[Any, P], T]) -> None:
        """Take the function, a method of a part."""
        self._asked = asked
        functools.update_wrapper(self, asked)  # pyright: ignore[reportArgumentType] - it is called through __get__

    def _bound(self, part: Part[Any] | None) -> Any:
        """Return the method of a part; of the class, what describes it."""
        if part is None:
            return self

        @functools.wraps(self._asked)
        def answered(*args: Any, **options: Any) -> Any:
            return getattr(part.driver, self.way)(self._asked(part, *args, **options))

        return answered


class call(_Method[P, Question[T]]):  # noqa: N801 - a decorator
    """Makes a function that returns a question one that gives the answer, or what is to be awaited for it."""

    way = "ask"

    @overload
    def __get__(self, part: Part[Blocking], owner: object = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, part: Part[Awaiting], owner: object = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, part: Part[Any], owner: object = None) -> Any:
        """Return the method of a part."""
        return self._bound(part)


class walk(_Method[P, Walk[T]]):  # noqa: N801 - a decorator
    """Makes a function that returns a walk one that gives an iterator, or one to be awaited step by step."""

    way = "walk"

    @overload
    def __get__(self, part: Part[Blocking], owner: object = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, part: Part[Awaiting], owner: object = None) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, part: Part[Any], owner: object = None) -> Any:
        """Return the method of a part."""
        return self._bound(part)


def fid_of(ref: Ref) -> str:
    """Return the fid that an object has, or that was given itself."""
    return ref.fid if isinstance(ref, Object) else quote(ref, safe="")


def payload_of(answer: httpx.Response) -> Any:
    """Return what an answer holds."""
    return answer.json()["payload"]


def reading(kind: Callable[[Mapping[str, Any]], T]) -> Callable[[httpx.Response], T]:
    """Return how an answer is read whose payload is one of ``kind``."""
    return lambda answer: kind(payload_of(answer))


def given(**values: Any) -> dict[str, Any]:
    """Return those that are given: what is None is not sent."""
    return {name: value for name, value in values.items() if value is not None}


@dataclass
class Pages(Generic[T]):
    """A list of the API, page by page."""

    path: str
    kind: Callable[[Mapping[str, Any]], T]
    params: dict[str, Any]
    pieces: Pieces = Pieces.ANSWERS
    question: Question[Any] | None = None

    def __post_init__(self) -> None:
        """Begin with the first page."""
        self.question = self._page(None)

    def take(self, piece: bytes) -> Iterable[T]:
        """Return what a page tells."""
        body = json.loads(piece)
        following = body.get("next_cursor")
        self.question = None if following is None else self._page(following)
        return map(self.kind, body["payload"])

    def _page(self, cursor: str | None) -> Question[Any]:
        return Question("GET", self.path, payload_of, params={**self.params, "cursor": cursor}, is_harmless=True)


def problem_of(answer: httpx.Response) -> Problem:
    """Return the error that an answer tells; of a proxy on the way, which has other words, what can be known."""
    said = f"{answer.status_code} {answer.reason_phrase}"
    members: dict[str, Any] = {"title": answer.reason_phrase, "detail": said}
    with contextlib.suppress(ValueError):
        body: Any = answer.json()
        members = cast("dict[str, Any]", body) if isinstance(body, dict) else members
    return problem_class(str(members.get("type")))(answer.status_code, members, retry_after=asked_pause(answer))
