"""What all relational objects have in common."""

from datetime import datetime
from typing import Any, Protocol


class RelationalObject(Protocol):
    """The fields that every relational object has."""

    @property
    def fid(self) -> str:
        """Its id."""
        ...

    @property
    def version(self) -> int:
        """Its edit counter."""
        ...

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        ...

    @property
    def updated_at(self) -> datetime:
        """When it was last edited."""
        ...

    @property
    def meta(self) -> dict[str, Any]:
        """Whatever the caller keeps there; ``name`` among it."""
        ...
