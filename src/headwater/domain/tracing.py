"""Trace spans: which work belongs to which request (W3C Trace Context).

Without a tracer nothing is recorded, and a caller's trace context is still propagated.
"""

import re
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Protocol

#: A server's span, a client's, or one in between.
SpanKind = Literal["server", "client", "internal"]

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Span(Protocol):
    """A span that is being recorded."""

    @property
    def traceparent(self) -> str:
        """Its trace context, to be propagated."""
        ...

    def tell(self, facts: Mapping[str, Any], *, name: str | None = None) -> None:
        """Add attributes, and set its name."""
        ...

    def failed(self, why: str) -> None:
        """Mark it as failed; ``why`` is one word, and quotes nothing."""
        ...


class Tracer(Protocol):
    """Records spans."""

    def span(
        self, name: str, *, kind: SpanKind, parent: str | None, facts: Mapping[str, Any]
    ) -> AbstractContextManager[Span]:
        """Record a block as a child of ``parent``."""
        ...

    def close(self) -> None:
        """Flush recorded spans."""
        ...


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The trace context of the current work."""

    tracer: Tracer | None = None
    #: The parent span: one of this process, or the caller's.
    parent: str | None = None


_NONE = Trace()
_TRACE: ContextVar[Trace] = ContextVar("trace", default=_NONE)


def traceparent() -> str | None:
    """Return the current trace context for propagation; None if there is none."""
    return _TRACE.get().parent


def sound(received: str | None) -> str | None:
    """Return a received ``traceparent``, or None if it is invalid."""
    return received if received is not None and _PARENT.fullmatch(received) else None


@contextmanager
def under(parent: str | None, *, tracer: Tracer | None = None) -> Generator[None]:
    """Make ``parent`` the parent of the block's spans, recorded by ``tracer``, or by the current one."""
    token = _TRACE.set(Trace(tracer=tracer or _TRACE.get().tracer, parent=parent))
    try:
        yield
    finally:
        _TRACE.reset(token)


def span(
    name: str, facts: Mapping[str, Any] | None = None, *, kind: SpanKind = "internal"
) -> AbstractContextManager[Span | None]:
    """Record the block as a span, if there is a tracer; within it, that is the current span.

    Internal spans without a parent, such as a loop's query each second, are not recorded.
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
