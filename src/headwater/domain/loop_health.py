"""The health of a process's background loops: each reports its turns, and readiness depends on it."""

from contextvars import ContextVar
from dataclasses import dataclass

#: Consecutive failed turns of a loop that make the process unready: a single failure may be transient.
MOST_FAILED_TURNS = 3


@dataclass(kw_only=True)
class LoopHealth:
    """The health of one loop."""

    name: str
    #: Consecutive turns that failed.
    failed_turns: int = 0
    #: The error of the last one.
    fault: BaseException | None = None
    #: Whether it ended unexpectedly, and no turn has succeeded since.
    is_ended: bool = False

    @property
    def is_failing(self) -> bool:
        """Whether the loop is not working."""
        return self.is_ended or self.failed_turns >= MOST_FAILED_TURNS


#: The loop of the current asyncio task; None outside of loops, and in tests that run a loop directly.
LOOP: ContextVar[LoopHealth | None] = ContextVar("LOOP", default=None)


def turn_succeeded() -> None:
    """Record that a turn of the calling loop succeeded."""
    loop = LOOP.get()
    if loop is not None:
        loop.failed_turns, loop.fault, loop.is_ended = 0, None, False


def turn_failed(error: BaseException) -> None:
    """Record that a turn of the calling loop failed."""
    loop = LOOP.get()
    if loop is not None:
        loop.failed_turns += 1
        loop.fault = error
