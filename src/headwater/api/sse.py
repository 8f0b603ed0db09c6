"""Server-sent events: what all endless responses share."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

import structlog
from fastapi.responses import StreamingResponse

from headwater.api.auth import StillReads
from headwater.api.dependencies import Services
from headwater.api.query_params import HIGHEST
from headwater.domain.errors import HeadwaterError, RequestInvalid

log = structlog.get_logger(__name__)

EVENTS = "text/event-stream"
#: The OpenAPI content of a route's ``responses``.
DESCRIBED = {EVENTS: {"schema": {"type": "string"}}}

#: Seconds of silence after which a keep-alive comment is sent.
KEEP_ALIVE = 15.0
ALIVE = b": keep-alive\n"
#: How often, at most, a stream of events checks that its key is still valid.
LOOK_AGAIN = timedelta(seconds=10)

#: Caches and proxies must not buffer events.
_AS_THEY_COME = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_NUMBER = re.compile(r"[0-9]{1,19}")


def streamed(pieces: AsyncGenerator[bytes], services: Services, still_reads: StillReads) -> StreamingResponse:
    """Return a response that streams events for as long as the caller's key is valid."""
    return StreamingResponse(_while_authorized(pieces, services, still_reads), media_type=EVENTS, headers=_AS_THEY_COME)


async def _while_authorized(
    pieces: AsyncGenerator[bytes], services: Services, still_reads: StillReads
) -> AsyncGenerator[bytes]:
    looked = services.clock()
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                now = services.clock()
                if now - looked >= LOOK_AGAIN:
                    await still_reads()
                    looked = now
                yield piece
    except HeadwaterError as error:
        # The response has begun; the client gets the error when it reconnects.
        log.info("events.ended", why=error.detail)


def held_by(last_event_id: str | None, what: str) -> int | None:
    """Return the number in a ``Last-Event-ID`` header; None without one.

    Raises:
        RequestInvalid: it is not a number; ``what`` names what it should be.
    """
    if last_event_id is None or not last_event_id.strip():
        return None
    last_event_id = last_event_id.strip()
    if not _NUMBER.fullmatch(last_event_id) or int(last_event_id) > HIGHEST:
        raise RequestInvalid(f"Last-Event-ID is no {what}; send the id of the last event that was heard")
    return int(last_event_id)
