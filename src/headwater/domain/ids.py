"""Identifiers, and the fields that all relational objects share."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

FID = re.compile(r"[0-9a-f]{32}")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_fid(at: datetime) -> str:
    """Return a new id whose leading bits are the time ``at`` to a quarter of a microsecond.

    The 12 bits after the milliseconds hold their fraction (RFC 9562, 6.2, method 3): ids that one process makes a
    microsecond apart are in order.
    """
    # Integers: as float seconds, one microsecond in a hundred would equal the one before.
    micros = (at - _EPOCH) // timedelta(microseconds=1)
    millis, rest = divmod(micros, 1000)
    fraction = rest * 4096 // 1000
    value = millis << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return UUID(int=value).hex


def first_fid(at: datetime, *, later: int = 0) -> str:
    """Return the bound between the ids from before the millisecond of ``at``, ``later`` ms on, and all later ids."""
    return UUID(int=max((at - _EPOCH) // timedelta(milliseconds=1) + later, 0) << 80).hex


def is_fid(text: str) -> bool:
    """Return whether ``text`` has the form of an object id."""
    return FID.fullmatch(text) is not None


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
        """When it was created."""
        ...

    @property
    def updated_at(self) -> datetime:
        """When it was last edited."""
        ...

    @property
    def meta(self) -> dict[str, Any]:
        """The caller's own data, including ``name``."""
        ...
