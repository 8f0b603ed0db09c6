"""The change feed of a stream: net changes since a version, as a response, a long poll, or server-sent events."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from enum import StrEnum
from typing import Annotated

import msgspec
from fastapi import Header, Query, Request
from fastapi.responses import StreamingResponse

from headwater.api import routing
from headwater.api.auth import READS, StillReads
from headwater.api.dependencies import Services, ServicesOf
from headwater.api.head import is_head, nothing
from headwater.api.openapi import fails
from headwater.api.query_params import HIGHEST, AskedSkipped, AskedView
from headwater.api.responses import headers_of, members_of
from headwater.api.sse import ALIVE, DESCRIBED, EVENTS, KEEP_ALIVE, held_by, streamed
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.lake.integrity import Skipped
from headwater.streams.change_feed import Changes
from headwater.streams.views import View

router = routing.router("reading")

NDJSON = "application/x-ndjson"

#: Seconds that a long poll waits: by default, and at most.
WAIT = 30
LONGEST_WAIT = 60

_PREFERS_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?:[,;]|$)")


class Feed(StrEnum):
    """The delivery mode of changes."""

    NORMAL = "normal"
    LONGPOLL = "longpoll"
    EVENTSOURCE = "eventsource"


@router.get(
    "/streams/{fid}/changes",
    dependencies=[READS],
    responses=fails(404) | {200: {"content": {NDJSON: {"schema": {"type": "string"}}} | DESCRIBED}},
    response_class=StreamingResponse,
)
async def list_changes(
    fid: str,
    services: ServicesOf,
    request: Request,
    view: AskedView,
    still_reads: StillReads,
    skipped: AskedSkipped,
    since: Annotated[
        int | None,
        Query(ge=0, le=HIGHEST, description="The stream version that the caller holds; 0, the default, is none."),
    ] = None,
    limit: Annotated[
        int | None,
        Query(
            ge=1,
            le=HIGHEST,
            description="About so many documents, up to an earlier version; what one version changed comes whole.",
        ),
    ] = None,
    feed: Annotated[
        Feed,
        Query(description="`longpoll` waits until there are changes, `eventsource` streams them as they come."),
    ] = Feed.NORMAL,
    prefer: Annotated[
        str | None, Header(description="`wait=N`: a long poll waits N seconds at most; 60 is the longest.")
    ] = None,
    last_event_id: Annotated[
        str | None,
        Header(description="What an event source goes on from.", json_schema_extra={"pattern": r"^ *[0-9]{0,15} *$"}),
    ] = None,
) -> StreamingResponse:
    """Return the net changes of a stream since one of its versions.

    Each line is `{"id", "op": "upsert" or "delete", "doc", "task"}`, the last one `{"last_version": n}`:
    a client that applies the lines holds what the stream shows at version n, and continues with `since=n`. A
    document whose text is unchanged is not listed.
    """
    # A reconnecting event source repeats its first URL, so Last-Event-ID takes precedence.
    resumed = held_by(last_event_id, "stream version")
    held = (since or 0) if resumed is None else resumed
    if feed is not Feed.NORMAL and view.as_of is not None:
        detail = f"feed={feed} follows what is to come, and as_of looks at what was; leave one of them away"
        raise RequestInvalid(detail, flaws=[Flaw(pointer="?as_of", detail=detail)])
    headers: dict[str, str] = {}
    if feed is Feed.LONGPOLL:
        preferred = _preferred(prefer)
        if preferred is not None:
            headers["Preference-Applied"] = f"wait={preferred}"
        await services.change_feed.wait(fid, held, seconds=WAIT if preferred is None else preferred)
    if is_head(request.scope):
        await services.change_feed.check(fid, held, view)
        media_type = EVENTS if feed is Feed.EVENTSOURCE else NDJSON
        return StreamingResponse(nothing(), media_type=media_type, headers=headers)
    changes = await services.change_feed.since(fid, held, view, limit=limit, skipped=skipped)
    headers |= headers_of(skipped)
    if feed is Feed.EVENTSOURCE:
        answer = streamed(_events(services, fid, changes, view, limit, skipped), services, still_reads)
        answer.headers.update(headers)
        return answer
    return StreamingResponse(_lines(changes, skipped), media_type=NDJSON, headers=headers)


async def _lines(changes: Changes, skipped: Skipped | None) -> AsyncIterator[bytes]:
    async for piece in changes.lines:
        yield piece
    yield _last(changes, skipped) + b"\n"


async def _events(
    services: Services, stream: str, changes: Changes, view: View, limit: int | None, skipped: Skipped | None
) -> AsyncGenerator[bytes]:
    """Yield changes as server-sent events, one per line; the last event of a version has the id."""
    while True:
        async for piece in changes.lines:
            yield b"".join(b"data: " + line + b"\n\n" for line in piece.split(b"\n")[:-1])
        yield b"id: %d\ndata: %b\n\n" % (changes.version, _last(changes, skipped))
        while not await services.change_feed.wait(stream, changes.version, seconds=KEEP_ALIVE):
            if services.change_feed.is_closed:
                return
            yield ALIVE + b"\n"
        changes = await services.change_feed.since(stream, changes.version, view, limit=limit, skipped=skipped)


def _last(changes: Changes, skipped: Skipped | None) -> bytes:
    return msgspec.json.encode({"last_version": changes.version} | members_of(skipped))


def _preferred(prefer: str | None) -> int | None:
    found = _PREFERS_WAIT.search(prefer or "")
    return None if found is None else min(int(found[1]), LONGEST_WAIT)
