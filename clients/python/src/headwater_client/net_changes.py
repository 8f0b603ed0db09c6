"""The net changes of a stream between two versions, as lines of one answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from headwater_client.requests import Call, Pieces, payload_of


@dataclass
class NetChanges:
    """The changes between two versions, in one answer: one line for each id. A broken one is asked for again."""

    stream: str
    since: int
    until: int
    pieces: Pieces = Pieces.LINES
    call: Call[Any] | None = None

    def __post_init__(self) -> None:
        """Prepare the call."""
        params = {"since": self.since, "as_of": self.until}
        self.call = Call("GET", f"/streams/{self.stream}/changes", payload_of, params=params, is_harmless=True)

    def take(self, piece: bytes) -> Iterable[bytes]:
        """Return the line, unless it is the last one."""
        if not piece.startswith(b'{"last_version"'):
            return (piece,)
        self.call = None
        return ()
