"""The log of a task as it is written: server-sent events, with reconnection, until the attempt is over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headwater_client.event_stream import IDLE_TIMEOUT, RECONNECT_AFTER
from headwater_client.models.results import LogLine
from headwater_client.requests import Call, Pieces, payload_of


@dataclass
class LogStream:
    """Parser of a followed log, across responses."""

    path: str
    params: Mapping[str, Any]
    pieces: Pieces = Pieces.LINES
    call: Call[Any] | None = None
    _place: str | None = None
    _event: bytes = b""
    _data: list[bytes] = field(default_factory=list[bytes])

    def __post_init__(self) -> None:
        """Prepare the first call."""
        self.call = self._next_call(pause=0.0)

    def take(self, piece: bytes) -> Iterable[LogLine]:
        """Consume a line of a response; return the line of the log that it completes, if any."""
        name, _, value = piece.rstrip(b"\r").partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        match name:
            case b"id":
                # A new block; the previous one may be incomplete after a broken connection.
                self._place, self._event, self._data = value.decode(), b"", []
            case b"event":
                self._event = value
            case b"data":
                self._data.append(value)
            case b"" if not value:
                return self._end()
            case _:
                pass
        return ()

    def _end(self) -> Iterable[LogLine]:
        event, data = self._event, self._data
        self._event, self._data = b"", []
        self.call = None if event == b"end" else self._next_call(pause=RECONNECT_AFTER)
        return (LogLine.read(json.loads(b"\n".join(data))),) if data and event != b"end" else ()

    def _next_call(self, *, pause: float) -> Call[Any]:
        return Call(
            "GET",
            self.path,
            payload_of,
            params={**self.params, "follow": "true"},
            headers={} if self._place is None else {"Last-Event-ID": self._place},
            is_harmless=True,
            retry_for=IDLE_TIMEOUT,
            pause=pause,
        )
