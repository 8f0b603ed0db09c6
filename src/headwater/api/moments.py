"""Moments, as callers write them."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

_RFC_3339 = re.compile(r"\d{4}-")


def _as_written(value: object) -> object:
    # A number, or a text of one, would be taken for seconds since 1970.
    if not isinstance(value, str) or not _RFC_3339.match(value):
        raise ValueError("a moment with its time zone is expected, such as 2026-03-01T00:00:00Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the moment is out of range") from None


#: A moment with its time zone (RFC 3339).
Moment = Annotated[AwareDatetime, BeforeValidator(_as_written), AfterValidator(_in_utc)]
