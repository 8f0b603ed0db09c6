"""Scopes and reach: what API keys may do, and with which streams and crawlers."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """A permission of a key; each scope includes the ones before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def allows(self, needed: "Scope") -> bool:
        """Whether this scope includes ``needed``."""
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The objects that a limited key may use: these streams and these crawlers, with their tasks.

    A stream has one crawler and a crawler one stream, so that naming either reaches both.
    """

    streams: frozenset[str]
    crawlers: frozenset[str]
