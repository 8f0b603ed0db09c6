"""Records what an action changed, for the audit, in the action's own transaction."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass
class Changes:
    """What an action has changed so far."""

    #: Whether it has changed any rows; annotations alone do not count.
    changed: bool = False
    #: The object that was changed, ``(type, fid)``, if the recorder cannot know it: an object that the action created.
    about: tuple[str, str] | None = None
    #: Details for readers of the audit; no secrets.
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


class AuditRecorder(Protocol):
    """Records the actions that are started in its context."""

    def record(self, tx: Any, changes: Changes) -> None:
        """Record what an action changed, in its transaction; called only if it changed something."""
        ...


#: The recorder of writes in this context; None for system actions.
AUDIT_RECORDER: ContextVar[AuditRecorder | None] = ContextVar("audit_recorder", default=None)
