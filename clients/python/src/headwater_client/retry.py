"""Retry policy: which failures are retried, and after how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from headwater_client.errors import UploadInFlight, problem_class

#: Outcome of an attempt.
Outcome = httpx.Response | httpx.TransportError

_TOO_MANY_REQUESTS = 429
_UNAVAILABLE = 503
_CONFLICT = 409
_SERVER_ERROR = 500
#: Errors after which the request certainly has not reached the server.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with jitter, limited in total time."""

    #: Seconds for which a call is retried, counted from the first attempt.
    seconds: float = 600.0
    #: Seconds before the first retry; doubled for each further one.
    first: float = 0.5
    #: Maximum pause in seconds, unless ``Retry-After`` is longer.
    longest: float = 30.0

    def pause(self, tries: int, *, waited: float, asked: float | None, rng: float) -> float | None:
        """Return the seconds until the next attempt; None if there should be none.

        Args:
            tries: number of attempts so far.
            waited: seconds since the first attempt.
            asked: ``Retry-After`` in seconds.
            rng: random number from 0 to 1 (jitter); shortens the pause by up to half, so that clients do not retry
                together.
        """
        if waited >= self.seconds:
            return None
        whole = min(self.first * 2.0 ** min(tries - 1, 30), self.longest)
        return max(whole * (1 - rng / 2), asked or 0.0)


def asks_for_another_try(outcome: Outcome, *, is_harmless: bool) -> bool:
    """Return whether a call should be retried.

    Args:
        outcome: of the last attempt.
        is_harmless: whether the call is idempotent.
    """
    if isinstance(outcome, httpx.TransportError):
        return is_harmless or isinstance(outcome, _UNSENT)
    status = outcome.status_code
    if status in {_TOO_MANY_REQUESTS, _UNAVAILABLE}:
        return True
    if status == _CONFLICT:  # the server may still be processing an upload whose connection broke
        return problem_class(_type_of(outcome)) is UploadInFlight
    return is_harmless and status >= _SERVER_ERROR


def _type_of(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("type"))
    except (ValueError, AttributeError):
        return ""


def asked_pause(answer: httpx.Response) -> float | None:
    """Parse ``Retry-After``, a number of seconds or an HTTP date; None if it is absent or invalid."""
    asked = answer.headers.get("retry-after", "").strip()
    if asked.isdecimal():
        return float(asked)
    try:
        moment = parsedate_to_datetime(asked)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
