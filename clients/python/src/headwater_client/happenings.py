"""What happens in Headwater, followed from event to event over whatever breaks in between."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headwater_client.answers import Event
from headwater_client.questions import Pieces, Question, Ref, fid_of, given, payload_of

PATH = "/events"
#: Seconds of silence after which a connection is taken for dead; the server breaks it every 15.
SILENCE = 45.0
#: Seconds after which what has ended is asked for anew.
AGAIN = 1.0


def filters(
    stream: Ref | None,
    crawler: Ref | None,
    task: Ref | None,
    types: str | Sequence[str] | None,
    since: datetime | str | None,
) -> dict[str, Any]:
    """Return the parameters that choose events."""
    objects = {"stream": stream, "crawler": crawler, "task": task}
    return given(
        **{name: None if ref is None else fid_of(ref) for name, ref in objects.items()},
        type=[types] if isinstance(types, str) else types,
        since=since.isoformat() if isinstance(since, datetime) else since,
    )


@dataclass
class Listening:
    """Server-sent events, answer by answer."""

    params: Mapping[str, Any]
    #: Behind which they go on; None is from now on, until the server has said where that is.
    place: str | None
    pieces: Pieces = Pieces.LINES
    question: Question[Any] | None = None
    _id: str | None = None
    _data: list[bytes] = field(default_factory=list[bytes])

    def __post_init__(self) -> None:
        """Begin."""
        self.question = self._behind(self.place, pause=0.0)

    def take(self, piece: bytes) -> Iterable[Event]:
        """Return what a line ends."""
        name, _, value = piece.rstrip(b"\r").partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"id":
            # A block begins: the former may have broken off.
            self._id, self._data = value.decode(), []
        elif name == b"data":
            self._data.append(value)
        elif not name and not value:
            return self._end()
        return ()

    def _end(self) -> Iterable[Event]:
        self.place = self.place if self._id is None else self._id
        # Asked anew even behind the same place: who has told something, be it that it is there, is waited for afresh.
        self.question = self._behind(self.place, pause=AGAIN)
        data, self._data = self._data, []
        return (Event.read(json.loads(b"\n".join(data))),) if data else ()

    def _behind(self, place: str | None, *, pause: float) -> Question[Any]:
        return Question(
            "GET",
            PATH,
            payload_of,
            params=self.params,
            headers={} if place is None else {"Last-Event-ID": place},
            is_harmless=True,
            patience=SILENCE,
            pause=pause,
        )
