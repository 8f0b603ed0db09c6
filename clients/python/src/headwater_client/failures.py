"""Formats failures for reports: messages, tracebacks, rejected documents."""

from __future__ import annotations

import itertools
import json
import re
import traceback
from typing import Any

from headwater_client.errors import Problem

#: Maximum characters of a reported message, and of a traceback (its end).
MESSAGE = 1000
TRACEBACK = 16_000
_LINE_ENDS = re.compile(rb"\r\n|\n|\r")


def document_at(problem: Problem, lines: bytes) -> Any:
    """Return the first document that a problem names; its text if it is not JSON, None if there is none."""
    number = problem.errors[0].get("line") if problem.errors else None
    if not isinstance(number, int):
        return None
    line = next(itertools.islice(_LINE_ENDS.split(lines), number - 1, None), b"")
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line.decode(errors="replace")


def message_of(error: BaseException) -> str:
    """Return an error as a one-line message."""
    try:
        return "".join(traceback.format_exception_only(type(error), error)).strip()[:MESSAGE]
    except Exception:  # noqa: BLE001 - the error's own __str__ may raise
        return type(error).__name__


def traceback_of(error: BaseException) -> str:
    """Return the end of an error's traceback."""
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))[-TRACEBACK:]
    except Exception:  # noqa: BLE001 - likewise
        return "".join(traceback.format_tb(error.__traceback__))[-TRACEBACK:]
