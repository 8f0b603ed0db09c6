"""Server-sent events: what all answers that never end have in common."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

import structlog
from fastapi.responses import StreamingResponse

from headwater.api.auth import StillReads
from headwater.api.parts import Parts
from headwater.api.views import HIGHEST
from headwater.domain.errors import HeadwaterError, RequestInvalid

log = structlog.get_logger(__name__)

EVENTS = "text/event-stream"
#: As a route's ``responses`` describe it.
DESCRIBED = {EVENTS: {"schema": {"type": "string"}}}

#: Seconds of silence after which a stream of events says that it is alive.
KEEP_ALIVE = 15.0
ALIVE = b": keep-alive\n"
#: A key may be revoked while its events are told: with the next piece after so long, it is looked at again.
LOOK_AGAIN = timedelta(seconds=10)

#: Caches and proxies must not hold events back.
_AS_THEY_COME = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_NUMBER = re.compile(r"[0-9]{1,19}")


def streamed(pieces: AsyncGenerator[bytes], backend: Parts, still_reads: StillReads) -> StreamingResponse:
    """Return an answer of events, sent as they come, for as long as whoever listens may read."""
    return StreamingResponse(_heard(pieces, backend, still_reads), media_type=EVENTS, headers=_AS_THEY_COME)


async def _heard(pieces: AsyncGenerator[bytes], backend: Parts, still_reads: StillReads) -> AsyncGenerator[bytes]:
    looked = backend.clock()
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                now = backend.clock()
                if now - looked >= LOOK_AGAIN:
                    await still_reads()
                    looked = now
                yield piece
    except HeadwaterError as error:
        # The answer has begun: who comes back with the last id is told what is wrong.
        log.info("events.ended", why=error.detail)


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
