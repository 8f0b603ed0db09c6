"""The event feed: every change of tasks, streams, crawlers and Externals."""

from collections.abc import AsyncGenerator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Header, Query, Request, Response
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.auth import READS, StillReads
from headwater.api.dependencies import Services, ServicesOf
from headwater.api.openapi import fails
from headwater.api.query_params import HIGHEST, Moment
from headwater.api.responses import EXAMPLE_FID, Cursor, Listing, cursor_for, listing_of, position_of
from headwater.api.sse import ALIVE, DESCRIBED, KEEP_ALIVE, held_by, streamed
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.event import TYPES, WORDS, EventFilter

router = routing.router("events")

#: Milliseconds after which an event source reconnects.
COME_BACK = 1_000
#: Default page size.
PAGE = 50


class EventFormat(StrEnum):
    """The response format of events."""

    EVENTSOURCE = "eventsource"
    NORMAL = "normal"


class EventOut(BaseModel):
    """A change."""

    id: int = Field(description="Its place among all events: later ones have higher ids.", examples=[4711])
    at: datetime = Field(examples=["2026-03-01T12:30:00.000000Z"])
    type: str = Field(description="What happened.", examples=["task.done"])
    stream: str | None = Field(description="What it is about, or what that belongs to.", examples=[EXAMPLE_FID])
    crawler: str | None = Field(examples=[EXAMPLE_FID])
    external: str | None = Field(examples=[EXAMPLE_FID])
    task: str | None = Field(examples=[EXAMPLE_FID])
    data: dict[str, Any] = Field(
        description="What is worth knowing without asking.",
        examples=[{"version": 4, "name": None, "attempt": 1, "code": 200, "state": "done", "docs": 250}],
    )


class EventsOut(Listing[EventOut]):
    """A page of events."""

    last_event_id: int = Field(
        description="How far was looked: what comes later is asked for with this `last_event_id`.", examples=[4711]
    )


async def _wanted(
    stream: Annotated[str | None, Query(description="Only events about this stream.")] = None,
    crawler: Annotated[str | None, Query(description="Only events about this crawler.")] = None,
    task: Annotated[str | None, Query(description="Only events about this task, alone or among others.")] = None,
    types: Annotated[
        list[str] | None,
        Query(
            alias="type",
            description="Only events of this type, `task.done`, or of what it is about, `task`, `task.*`; repeatable.",
            json_schema_extra={"items": {"enum": [*WORDS, *(f"{kind}.*" for kind in WORDS), *sorted(TYPES)]}},
            examples=[["task.done", "stream"]],
        ),
    ] = None,
    since: Annotated[
        Moment | None, Query(description="Only events of that moment or later, with those that are kept.")
    ] = None,
) -> EventFilter:
    # Webhooks write `task.*` for `task`; both are accepted.
    wanted = [name.removesuffix(".*") for name in types or ()]
    unknown = [name for name in wanted if name not in TYPES and name not in WORDS]
    if unknown:
        known = ", ".join(sorted(TYPES))
        detail = f"there is no event {unknown[0]!r}; there are {known}, and each of {', '.join(WORDS)} for all of it"
        raise RequestInvalid(f"?type: {detail}", flaws=[Flaw(pointer="?type", detail=detail)])
    return EventFilter(stream=stream, crawler=crawler, task=task, types=frozenset(wanted), since=since)


@router.get(
    "/events",
    dependencies=[READS],
    responses={200: {"content": DESCRIBED}} | fails(),
    response_model=EventsOut,
)
async def list_events(
    services: ServicesOf,
    request: Request,
    wanted: Annotated[EventFilter, Depends(_wanted)],
    still_reads: StillReads,
    last_event_id: Annotated[
        int | None,
        Query(ge=0, le=HIGHEST, description="The id of the last event that was heard; 0 is before all of them."),
    ] = None,
    feed: Annotated[
        EventFormat,
        Query(description="`eventsource` streams events as they come, `normal` lists those that there are as JSON."),
    ] = EventFormat.EVENTSOURCE,
    limit: Annotated[
        int | None, Query(ge=1, le=1000, description=f"With `feed=normal`: events on a page, {PAGE} unless given.")
    ] = None,
    cursor: Cursor = None,
    heard: Annotated[
        str | None, Header(alias="Last-Event-ID", description="What an event source goes on behind.")
    ] = None,
) -> Response:
    """Return every change of tasks, streams, crawlers and Externals, once, in commit order.

    By default, an endless stream of server-sent events: `id` is the event's, `event` its type, `data` the event as one
    line of JSON. It starts after `Last-Event-ID` or `last_event_id`, or at `since`, otherwise with new events.

    With `feed=normal`, a page of events as JSON, oldest first, by default from the oldest stored one. To poll,
    pass the `last_event_id` of the response to the next request.
    """
    # A reconnecting event source repeats its first URL, so Last-Event-ID takes precedence.
    resumed = held_by(heard, "id of an event")
    name = "?last_event_id" if resumed is None else "Last-Event-ID"
    held = last_event_id if resumed is None else resumed
    is_page = feed is EventFormat.NORMAL
    if not is_page:
        _refuse_pages(limit, cursor)
    position = position_of(cursor, int)
    place = await services.event_feed.begin(
        held if position is None else position, wanted.since, name=name, from_start=is_page
    )
    if not is_page:
        return streamed(_event_lines(services, place, wanted), services, still_reads)
    page = await services.event_feed.page(place, wanted, limit=limit or PAGE)
    following = None if page.is_all else cursor_for(page.place)
    payload = [msgspec.Raw(encoded.text) for encoded in page.events]
    return listing_of(request, payload, following, last_event_id=page.place)


async def _event_lines(services: Services, place: int, wanted: EventFilter) -> AsyncGenerator[bytes]:
    """Yield events as they are committed; first of all the current position, so that a reconnect resumes there."""
    with services.event_feed.listening():
        yield b"retry: %d\nid: %d\n\n" % (COME_BACK, place)
        while True:
            page = await services.event_feed.after(place, wanted, seconds=KEEP_ALIVE)
            if page.events:
                yield b"".join(
                    b"id: %d\nevent: %b\ndata: %b\n\n" % (encoded.event.id, encoded.event.type.encode(), encoded.text)
                    for encoded in page.events
                )
            elif services.event_feed.is_closed:
                return
            else:
                yield ALIVE + (b"id: %d\n\n" % page.place if page.place > place else b"\n")
            place = page.place


def _refuse_pages(limit: int | None, cursor: str | None) -> None:
    for name, value in (("limit", limit), ("cursor", cursor)):
        if value is not None:
            detail = f"{name} is for pages: send feed=normal with it, or omit it to follow"
            raise RequestInvalid(f"?{name}: {detail}", flaws=[Flaw(pointer=f"?{name}", detail=detail)])
