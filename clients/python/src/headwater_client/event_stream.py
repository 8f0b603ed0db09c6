"""The event feed: server-sent events, with reconnection."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headwater_client.models.results import Event
from headwater_client.requests import Call, Pieces, Ref, fid_of, given, payload_of

PATH = "/events"
#: Seconds without data after which a connection is considered dead; the server sends a keep-alive every 15.
IDLE_TIMEOUT = 45.0
#: Seconds to wait before reconnecting after a response has ended.
RECONNECT_AFTER = 1.0


def filters(
    stream: Ref | None,
    crawler: Ref | None,
    task: Ref | None,
    types: str | Sequence[str] | None,
    since: datetime | str | None,
) -> dict[str, Any]:
    """Return the query parameters that filter events."""
    objects = {"stream": stream, "crawler": crawler, "task": task}
    return given(
        **{name: None if ref is None else fid_of(ref) for name, ref in objects.items()},
        type=[types] if isinstance(types, str) else types,
        since=since.isoformat() if isinstance(since, datetime) else since,
    )


@dataclass
class EventStream:
    """Parser of server-sent events, across responses."""

    params: Mapping[str, Any]
    #: Id of the last event received; None starts with new events.
    last_id: str | None
    pieces: Pieces = Pieces.LINES
    call: Call[Any] | None = None
    _id: str | None = None
    _data: list[bytes] = field(default_factory=list[bytes])

    def __post_init__(self) -> None:
        """Prepare the first call."""
        self.call = self._call_after(self.last_id, pause=0.0)

    def take(self, piece: bytes) -> Iterable[Event]:
        """Consume a line; return the event that it completes, if any."""
        name, _, value = piece.rstrip(b"\r").partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"id":
            # A new block; the previous one may be incomplete after a broken connection.
            self._id, self._data = value.decode(), []
        elif name == b"data":
            self._data.append(value)
        elif not name and not value:
            return self._end()
        return ()

    def _end(self) -> Iterable[Event]:
        self.last_id = self.last_id if self._id is None else self._id
        # A new call even after the same id, so that its retries start afresh: the server has just responded.
        self.call = self._call_after(self.last_id, pause=RECONNECT_AFTER)
        data, self._data = self._data, []
        return (Event.read(json.loads(b"\n".join(data))),) if data else ()

    def _call_after(self, last_id: str | None, *, pause: float) -> Call[Any]:
        return Call(
            "GET",
            PATH,
            payload_of,
            params=self.params,
            headers={} if last_id is None else {"Last-Event-ID": last_id},
            is_harmless=True,
            retry_for=IDLE_TIMEOUT,
            pause=pause,
        )
