"""Object ids: UUIDv7 (RFC 9562), 32 hex digits, so that their order is the order of creation."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

FID = re.compile(r"[0-9a-f]{32}")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_fid(at: datetime) -> str:
    """Return a new id whose leading bits are the time ``at`` to a quarter of a microsecond.

    The 12 bits behind the milliseconds hold their fraction (RFC 9562, 6.2, method 3): ids that one
    process makes a microsecond apart are in order.
    """
    # Whole numbers: a float of seconds makes one microsecond in a hundred the same as the one before.
    micros = (at - _EPOCH) // timedelta(microseconds=1)
    millis, rest = divmod(micros, 1000)
    fraction = rest * 4096 // 1000
    value = millis << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return UUID(int=value).hex


def first_fid(at: datetime, *, later: int = 0) -> str:
    """Return what sorts before each id made in the millisecond of ``at`` or ``later`` ones, and behind all others."""
    return UUID(int=max((at - _EPOCH) // timedelta(milliseconds=1) + later, 0) << 80).hex


def is_fid(text: str) -> bool:
    """Tell whether ``text`` has the form of an object id."""
    return FID.fullmatch(text) is not None
