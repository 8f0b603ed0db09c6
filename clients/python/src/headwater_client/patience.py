"""When to try again, and after how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Union

import httpx

from headwater_client.errors import UploadInFlight, problem_class

#: What came of a try.
Outcome = Union[httpx.Response, httpx.TransportError]

_TOO_MANY_REQUESTS = 429
_UNAVAILABLE = 503
_CONFLICT = 409
_SERVER_ERROR = 500
#: Errors after which the server has surely not begun.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class Patience:
    """How long a call is tried again."""

    #: Seconds since the first try after which there is no other.
    seconds: float = 600.0
    #: Seconds before the second try; each pause after it is twice as long.
    first: float = 0.5
    #: Seconds that a pause has at most, unless the server asks for more.
    longest: float = 30.0

    def pause(self, tries: int, *, waited: float, asked: float | None, dice: float) -> float | None:
        """Return the seconds until the next try; None if there shall be none.

        Args:
            tries: how many there were.
            waited: seconds since the first.
            asked: what the server asks for, in seconds.
            dice: a number from 0 to 1; it shortens the pause by up to half, so that clients do not come back together.
        """
        if waited >= self.seconds:
            return None
        whole = min(self.first * 2.0 ** min(tries - 1, 30), self.longest)
        return max(whole * (1 - dice / 2), asked or 0.0)


def asks_for_another_try(outcome: Outcome, *, is_harmless: bool) -> bool:
    """Tell whether a call should be made again.

    Args:
        outcome: what came of it.
        is_harmless: whether doing it twice is the same as doing it once.
    """
    if isinstance(outcome, httpx.TransportError):
        return is_harmless or isinstance(outcome, _UNSENT)
    status = outcome.status_code
    if status in {_TOO_MANY_REQUESTS, _UNAVAILABLE}:
        return True
    if status == _CONFLICT:  # an upload that broke off may still be under way there
        return problem_class(_type_of(outcome)) is UploadInFlight
    return is_harmless and status >= _SERVER_ERROR


def _type_of(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("type"))
    except (ValueError, AttributeError):
        return ""


def asked_pause(answer: httpx.Response) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, be it a number or a moment."""
    asked = answer.headers.get("retry-after", "").strip()
    if asked.isdecimal():
        return float(asked)
    try:
        moment = parsedate_to_datetime(asked)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max((moment - datetime.now(timezone.utc)).total_seconds(), 0.0)
