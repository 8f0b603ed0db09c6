"""That somebody sees what an action does, and writes it down in the same transaction."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass
class Deeds:
    """What an action has done so far."""

    #: Whether it has changed anything: rows, not words.
    changed: bool = False
    #: The object that it is about, ``(type, fid)``, where who witnesses it cannot know: one that it has made.
    about: tuple[str, str] | None = None
    #: What a reader needs to understand it; no secrets.
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


class Witness(Protocol):
    """Who sees the actions that are begun in its context."""

    def write_down(self, tx: Any, deeds: Deeds) -> None:
        """Keep what an action has done, in its transaction; asked only if it has changed something."""
        ...


#: The witness of what is written in this context; None for what no person does.
WITNESS: ContextVar[Witness | None] = ContextVar("witness", default=None)
