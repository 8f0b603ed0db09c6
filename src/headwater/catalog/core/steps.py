"""Actions in steps, so that the actions of a group share their round trips to the database.

An action in steps is a generator: it yields the statements that it needs the results of, and is sent their first rows.
All actions of a group take a step together, in one round trip where the database has pipelines.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import GeneratorType
from typing import Any, TypeGuard, TypeVar

from headwater.catalog.core.prepared_statement import PreparedStatement

T = TypeVar("T")

#: The first row of the result of each statement of a step; None without one.
Rows = Sequence[tuple[Any, ...] | None]


class Turn(IntEnum):
    """When a statement runs among those of a step."""

    TASKS = 0
    #: Last, since all uploads to a stream wait for its row.
    STREAMS = 1


@dataclass(frozen=True, kw_only=True)
class Call:
    """A statement with its parameters."""

    statement: PreparedStatement
    values: Mapping[str, Any]
    turn: Turn
    #: What it locks: statements of a turn run in the order of these, so that transactions do not deadlock.
    locks: str


Steps = Generator[Sequence[Call], Rows, T]


def is_steps(result: object) -> TypeGuard[Steps[Any]]:
    """Return whether what an action returned are its steps, which are yet to be taken."""
    return isinstance(result, GeneratorType)


def together(*parts: Steps[Any]) -> Steps[list[Any]]:
    """Take the steps of several actions together; return their results."""
    results: list[Any] = [None] * len(parts)
    rows: list[Rows | None] = [None] * len(parts)
    running = list(range(len(parts)))
    while running:
        asked: dict[int, Sequence[Call]] = {}
        for number in running:
            try:
                asked[number] = next_step(parts[number], rows[number])
            except StopIteration as end:
                results[number] = end.value
        running = list(asked)
        if running:
            found = yield [call for calls in asked.values() for call in calls]
            for number, some in zip(running, _divided(found, list(asked.values())), strict=True):
                rows[number] = some
    return results


def next_step(steps: Steps[Any], rows: Rows | None) -> Sequence[Call]:
    """Continue an action with the rows that it asked for, None at first; return what it asks for next.

    Raises:
        StopIteration: it has ended, with this result.
    """
    return next(steps) if rows is None else steps.send(rows)


def _divided(rows: Rows, asked: Sequence[Sequence[Call]]) -> list[Rows]:
    divided: list[Rows] = []
    start = 0
    for calls in asked:
        divided.append(rows[start : start + len(calls)])
        start += len(calls)
    return divided
