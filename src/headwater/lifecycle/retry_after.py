"""Parsing of the ``Retry-After`` header (RFC 9110, 10.2.3)."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

#: Upper bound in seconds; longer requests are clamped.
MOST_PATIENCE = 3600.0

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")


def retry_after(response: httpx.Response, *, at: datetime | None = None) -> float:
    """Return the seconds to wait, between 0 and ``MOST_PATIENCE``; 0 without the header.

    A date is relative to ``at``, or else to the response's own ``Date``.
    """
    asked = response.headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(asked):
        whole = asked.partition(".")[0].lstrip("0")
        return MOST_PATIENCE if len(whole) > len(f"{MOST_PATIENCE:.0f}") else min(float(asked), MOST_PATIENCE)
    until, since = _moment(asked), at or _moment(response.headers.get("date", ""))
    if until is None or since is None:
        return 0.0
    return min(max((until - since).total_seconds(), 0.0), MOST_PATIENCE)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
