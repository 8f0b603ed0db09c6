"""A line of a task's log, as a crawler writes it and as it is stored."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

import msgspec

from headwater.domain.json_limits import cleaned

#: Characters of a line's text, and of its other fields as JSON; the rest is cut.
LONGEST_TEXT = 16_384
#: Stands where a text was cut.
_CUT = " …"


class LogLevel(StrEnum):
    """How much a line matters; these words are public."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


#: From least to most.
LEVELS = tuple(LogLevel)
_RANK = {level: rank for rank, level in enumerate(LEVELS)}
#: What other programs call them.
_ALIASES = {
    "trace": LogLevel.DEBUG,
    "notice": LogLevel.INFO,
    "log": LogLevel.INFO,
    "warn": LogLevel.WARNING,
    "err": LogLevel.ERROR,
    "exception": LogLevel.ERROR,
    "fatal": LogLevel.CRITICAL,
    "panic": LogLevel.CRITICAL,
}


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line."""

    at: datetime
    level: LogLevel
    text: str
    #: Further fields, any JSON.
    fields: dict[str, Any] = field(default_factory=dict[str, Any])

    def is_at_least(self, level: LogLevel) -> bool:
        """Return whether it matters at least so much."""
        return _RANK[self.level] >= _RANK[level]

    def encoded(self) -> bytes:
        """Return the line as it is stored: JSON, with a line end."""
        plain = {"at": self.at, "level": self.level, "text": self.text}
        return msgspec.json.encode({**self.fields, **plain}) + b"\n"


def parsed(raw: bytes, *, at: datetime) -> LogLine | None:
    """Return the line that a crawler sent: a JSON object with a ``text``, or plain text; None if it is empty."""
    raw = raw.strip()
    if not raw:
        return None
    if raw.startswith(b"{"):
        try:
            value: object = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            value = None
        if isinstance(value, dict):
            members = cast("dict[str, Any]", value)
            if isinstance(members.get("text"), str):
                return _structured(members, at=at)
    return LogLine(at=at, level=LogLevel.INFO, text=_shortened(cast("str", cleaned(raw.decode(errors="replace")))))


def stored(raw: bytes, *, otherwise: datetime) -> LogLine:
    """Return a line as it was stored; one that a crash has damaged is plain text."""
    line = parsed(raw, at=otherwise)
    return line or LogLine(at=otherwise, level=LogLevel.INFO, text="")


def level_of(value: object) -> LogLevel:
    """Return a level by its name or Python's number; what is unknown is ``info``."""
    if isinstance(value, str):
        name = value.strip().lower()
        return LogLevel(name) if name in set(LEVELS) else _ALIASES.get(name, LogLevel.INFO)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return LEVELS[min(max(int(value) // 10 - 1, 0), len(LEVELS) - 1)]
    return LogLevel.INFO


def _structured(members: dict[str, Any], *, at: datetime) -> LogLine:
    others = {name: value for name, value in members.items() if name not in {"at", "level", "text"}}
    fields = cast("dict[str, Any]", cleaned(others))
    if len(msgspec.json.encode(fields)) > LONGEST_TEXT:
        fields = {"truncated": True}
    return LogLine(
        at=_moment(members.get("at")) or at,
        level=level_of(members.get("level")),
        text=_shortened(cast("str", cleaned(members["text"]))),
        fields=fields,
    )


def _moment(value: object) -> datetime | None:
    """Return a point in time, as RFC 3339 or in seconds since 1970; None if it is neither."""
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - len(_CUT)] + _CUT
