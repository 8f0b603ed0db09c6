"""Durations as people write them: ``90``, ``15m``, ``6h``, ``30d``."""

from __future__ import annotations

import re

from headwater_client.cli.errors import CliError, ExitCode

_DURATION = re.compile(r"(\d{1,9})([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def seconds(text: str, option: str) -> int:
    """Return a duration in seconds.

    Raises:
        CliError: it is none.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None:
        raise CliError(f"{option} {text!r} is no duration: expected one like 90s, 15m, 6h or 30d", code=ExitCode.USAGE)
    return int(found[1]) * _SECONDS[found[2]]
