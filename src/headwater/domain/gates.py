"""Gates: conditions that a run must meet to be published in its stream."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The conditions on publishing a crawler's successful runs; None disables a condition."""

    #: Minimum number of documents of an attempt.
    min_docs: int | None = None
    #: Maximum share, 0 to 1, by which the documents may decrease from the crawler's last good attempt.
    max_shrink: float | None = None
    #: Maximum of rejected lines: below 1 a share of all lines, from 1 on a number.
    max_rejected: float | None = None

    @property
    def are_open(self) -> bool:
        """Whether no condition is set."""
        return self == Gates()


@dataclass(frozen=True, kw_only=True)
class GateFailure:
    """A gate that an attempt failed."""

    #: Its name, ``min_docs``.
    gate: str
    #: The configured limit.
    limit: float
    #: The attempt's value.
    value: float
    #: An explanation in a few words.
    said: str


def failures(gates: Gates, *, docs: int, rejected: int, before: int | None) -> list[GateFailure]:
    """Return the gates that an attempt with so many documents and rejected lines fails.

    ``before`` is the number of documents of the crawler's last good attempt; None if there was none, which any number
    passes.
    """
    return [*_too_few(gates, docs), *_shrunk(gates, docs, before), *_too_bad(gates, docs, rejected)]


def _too_few(gates: Gates, docs: int) -> Iterator[GateFailure]:
    if gates.min_docs is not None and docs < gates.min_docs:
        said = f"{counted(docs)}, and at least {gates.min_docs} are wanted"
        yield GateFailure(gate="min_docs", limit=gates.min_docs, value=docs, said=said)


def _shrunk(gates: Gates, docs: int, before: int | None) -> Iterator[GateFailure]:
    if gates.max_shrink is None or not before:
        return
    # A quotient of integers rounds to the nearest double, as the configured value did: 0.3 is never just above 0.3.
    shrunk = (before - docs) / before
    if shrunk > gates.max_shrink:
        said = (
            f"{counted(docs)}, {shrunk:.1%} fewer than the {before} of the last good run, and {gates.max_shrink:.1%} "
            "are let pass"
        )
        yield GateFailure(gate="max_shrink", limit=gates.max_shrink, value=shrunk, said=said)


def _too_bad(gates: Gates, docs: int, rejected: int) -> Iterator[GateFailure]:
    most = gates.max_rejected
    if most is None or not rejected:
        return
    lines = docs + rejected
    told = f"{rejected} of {lines} lines were rejected"
    if most >= 1 and rejected > most:
        yield GateFailure(gate="max_rejected", limit=most, value=rejected, said=f"{told}, and {most:g} are let pass")
    elif most < 1 and rejected / lines > most:
        said = f"{told}, {rejected / lines:.1%}, and {most:.1%} are let pass"
        yield GateFailure(gate="max_rejected", limit=most, value=rejected / lines, said=said)


def counted(docs: int) -> str:
    """Return a number of documents with its noun."""
    return "1 document" if docs == 1 else f"{docs} documents"


_KEPT_OUT, _LET_IN = "not published", "published by hand"


def verdict(failed: Sequence[GateFailure], *, message: str | None, detail: Any) -> tuple[str, dict[str, Any]]:
    """Return the message and the detail of a task that failed gates; they include those that its crawler reported."""
    said = "; ".join(f"{one.gate}: {one.said}" for one in failed)
    gates = [{"gate": one.gate, "limit": one.limit, "value": one.value} for one in failed]
    return f"{_KEPT_OUT}, {said}", {"gates": gates, "message": message, "detail": detail}


def overruled(message: str | None) -> str | None:
    """Return the message of a task that failed gates, once a person has published it."""
    return None if message is None else message.replace(_KEPT_OUT, _LET_IN, 1)
