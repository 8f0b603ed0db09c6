"""Points in time as people write them: a date, a time, or how long ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import typer

_AGO = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str) -> datetime:
    """Return a point in time: ``12h`` is twelve hours ago; without a time zone it is that of this computer.

    Raises:
        typer.BadParameter: the text is neither.
    """
    ago = _AGO.fullmatch(text.strip().lower())
    try:
        if ago is not None:
            return datetime.now().astimezone() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no point in time; write 12h (ago; s, m, h, d, w), 2026-03-01 or 2026-03-01T12:00Z"
        ) from None
