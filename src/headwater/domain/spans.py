"""Spans of time: which work belongs to which request, for those who trace it (W3C Trace Context).

Without a tracer nothing is recorded, and what a caller has said is passed on all the same.
"""

import re
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Protocol

#: Who serves, who calls somebody else, and all between.
SpanKind = Literal["server", "client", "internal"]

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Span(Protocol):
    """A piece of work that is being recorded."""

    @property
    def traceparent(self) -> str:
        """What names it to others."""
        ...

    def tell(self, facts: Mapping[str, Any], *, name: str | None = None) -> None:
        """Say more of it, and what it is called now."""
        ...

    def failed(self, why: str) -> None:
        """Say that it failed; ``why`` is a word, and quotes nothing."""
        ...


class Tracer(Protocol):
    """Who records spans."""

    def span(
        self, name: str, *, kind: SpanKind, parent: str | None, facts: Mapping[str, Any]
    ) -> AbstractContextManager[Span]:
        """Record a block as the child of what ``parent`` names."""
        ...

    def close(self) -> None:
        """Send what is not yet sent."""
        ...


@dataclass(frozen=True, kw_only=True)
class Trace:
    """To what the work that is being done belongs."""

    tracer: Tracer | None = None
    #: The span that it is part of: ours, or the caller's.
    parent: str | None = None


_NONE = Trace()
_TRACE: ContextVar[Trace] = ContextVar("trace", default=_NONE)


def traceparent() -> str | None:
    """Return what names the present span to others; None if there is none."""
    return _TRACE.get().parent


def sound(said: str | None) -> str | None:
    """Return a ``traceparent`` as somebody has sent it, or None if it is none."""
    return said if said is not None and _PARENT.fullmatch(said) else None


@contextmanager
def under(parent: str | None, *, tracer: Tracer | None = None) -> Generator[None]:
    """Let the block belong to what ``parent`` names, and be recorded by ``tracer``, or the one that there is."""
    token = _TRACE.set(Trace(tracer=tracer or _TRACE.get().tracer, parent=parent))
    try:
        yield
    finally:
        _TRACE.reset(token)


def span(
    name: str, facts: Mapping[str, Any] | None = None, *, kind: SpanKind = "internal"
) -> AbstractContextManager[Span | None]:
    """Record the block as a span, if anybody records; within it, that one is the present span.

    What is internal and belongs to nothing, such as a loop's look at the catalog each second, is not recorded.
    """
    trace = _TRACE.get()
    if trace.tracer is None or (kind == "internal" and trace.parent is None):
        return nullcontext()
    return _recorded(trace.tracer, trace.parent, name, kind, facts or {})


@contextmanager
def _recorded(
    tracer: Tracer, parent: str | None, name: str, kind: SpanKind, facts: Mapping[str, Any]
) -> Generator[Span]:
    with tracer.span(name, kind=kind, parent=parent, facts=facts) as begun, under(begun.traceparent, tracer=tracer):
        yield begun
