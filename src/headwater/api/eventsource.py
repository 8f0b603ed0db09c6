"""Server-sent events: what all answers that never end have in common."""

import re
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse

from headwater.api.views import HIGHEST
from headwater.domain.errors import RequestInvalid

EVENTS = "text/event-stream"
#: As a route's ``responses`` describe it.
DESCRIBED = {EVENTS: {"schema": {"type": "string"}}}

#: Seconds of silence after which a stream of events says that it is alive.
KEEP_ALIVE = 15.0
ALIVE = b": keep-alive\n"

#: Caches and proxies must not hold events back.
_AS_THEY_COME = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_NUMBER = re.compile(r"[0-9]{1,19}")


def streamed(pieces: AsyncIterator[bytes]) -> StreamingResponse:
    """Return an answer of events, sent as they come."""
    return StreamingResponse(pieces, media_type=EVENTS, headers=_AS_THEY_COME)


def held_by(last_event_id: str | None, what: str) -> int | None:
    """Return the number that a ``Last-Event-ID`` tells; None if nothing was heard before.

    Raises:
        RequestInvalid: it is no number; ``what`` says of what it should be.
    """
    if last_event_id is None or not last_event_id.strip():
        return None
    last_event_id = last_event_id.strip()
    if not _NUMBER.fullmatch(last_event_id) or int(last_event_id) > HIGHEST:
        raise RequestInvalid(f"Last-Event-ID is no {what}; send the id of the last event that was heard")
    return int(last_event_id)
