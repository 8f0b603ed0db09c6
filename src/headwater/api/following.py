"""Following a stream: its net changes since a version, at once, when there are some, or without end."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from headwater.api.auth import READS, StillReads
from headwater.api.eventsource import ALIVE, DESCRIBED, KEEP_ALIVE, held_by, streamed
from headwater.api.openapi import fails
from headwater.api.parts import Backend, Parts
from headwater.api.views import HIGHEST, AskedView
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.streams.changes import Changes
from headwater.streams.views import View

router = APIRouter(tags=["reading"])

NDJSON = "application/x-ndjson"

#: Seconds that a long poll waits where the caller says nothing, and at most.
WAIT = 30
LONGEST_WAIT = 60

_PREFERS_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?:[,;]|$)")


class Feed(StrEnum):
    """How changes are told."""

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
    backend: Backend,
    view: AskedView,
    still_reads: StillReads,
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
    """Tell the net changes of a stream since one of its versions.

    Each line is `{"id", "op": "upsert" or "delete", "doc", "task"}`, the last one `{"last_version": n}`:
    who applies the lines holds what the stream shows at version n, and goes on with `since=n`. A document
    whose text is the same as before is not told of.
    """
    # An event source that comes back sends its first URL again: what it has heard since counts.
    heard = held_by(last_event_id, "stream version")
    held = (since or 0) if heard is None else heard
    if feed is not Feed.NORMAL and view.as_of is not None:
        detail = f"feed={feed} follows what is to come, and as_of looks at what was; leave one of them away"
        raise RequestInvalid(detail, flaws=[Flaw(pointer="?as_of", detail=detail)])
    headers: dict[str, str] = {}
    if feed is Feed.LONGPOLL:
        preferred = _preferred(prefer)
        if preferred is not None:
            headers["Preference-Applied"] = f"wait={preferred}"
        await backend.follower.wait(fid, held, seconds=WAIT if preferred is None else preferred)
    changes = await backend.follower.since(fid, held, view, limit=limit)
    if feed is Feed.EVENTSOURCE:
        return streamed(_events(backend, fid, changes, view, limit), backend, still_reads)
    return StreamingResponse(_lines(changes), media_type=NDJSON, headers=headers)


async def _lines(changes: Changes) -> AsyncIterator[bytes]:
    async for piece in changes.lines:
        yield piece
    yield _last(changes) + b"\n"


async def _events(
    backend: Parts, stream: str, changes: Changes, view: View, limit: int | None
) -> AsyncGenerator[bytes]:
    """Tell changes as server-sent events: each line is one, and the id stands with the last of a version."""
    while True:
        async for piece in changes.lines:
            yield b"".join(b"data: " + line + b"\n\n" for line in piece.split(b"\n")[:-1])
        yield b"id: %d\ndata: %b\n\n" % (changes.version, _last(changes))
        while not await backend.follower.wait(stream, changes.version, seconds=KEEP_ALIVE):
            if backend.follower.is_closed:
                return
            yield ALIVE + b"\n"
        changes = await backend.follower.since(stream, changes.version, view, limit=limit)


def _last(changes: Changes) -> bytes:
    return b'{"last_version":%d}' % changes.version


def _preferred(prefer: str | None) -> int | None:
    found = _PREFERS_WAIT.search(prefer or "")
    return None if found is None else min(int(found[1]), LONGEST_WAIT)
