"""What happens, everywhere: every change of tasks, streams, crawlers and Externals, as events."""

from collections.abc import AsyncGenerator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, Field

from headwater.api.auth import READS, StillReads
from headwater.api.documents import listing_of
from headwater.api.envelope import EXAMPLE_FID, Cursor, Listing, cursor_for, position_of
from headwater.api.eventsource import ALIVE, DESCRIBED, KEEP_ALIVE, held_by, streamed
from headwater.api.moments import Moment
from headwater.api.openapi import fails
from headwater.api.parts import Backend, Parts
from headwater.api.views import HIGHEST
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.event import TYPES, WORDS, EventFilter

router = APIRouter(tags=["events"])

#: Milliseconds after which an event source whose connection ended comes back.
COME_BACK = 1_000
#: Events on a page unless the caller says otherwise.
PAGE = 50


class Telling(StrEnum):
    """How events are told."""

    EVENTSOURCE = "eventsource"
    NORMAL = "normal"


class EventOut(BaseModel):
    """Something that has changed."""

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
    # Webhooks write it so; both say the same.
    wanted = [name.removesuffix(".*") for name in types or ()]
    strangers = [name for name in wanted if name not in TYPES and name not in WORDS]
    if strangers:
        known = ", ".join(sorted(TYPES))
        detail = f"there is no event {strangers[0]!r}; there are {known}, and each of {', '.join(WORDS)} for all of it"
        raise RequestInvalid(f"?type: {detail}", flaws=[Flaw(pointer="?type", detail=detail)])
    return EventFilter(stream=stream, crawler=crawler, task=task, types=frozenset(wanted), since=since)


@router.get(
    "/events",
    dependencies=[READS],
    responses={200: {"content": DESCRIBED}} | fails(),
    response_model=EventsOut,
)
async def list_events(
    backend: Backend,
    request: Request,
    wanted: Annotated[EventFilter, Depends(_wanted)],
    still_reads: StillReads,
    last_event_id: Annotated[
        int | None,
        Query(ge=0, le=HIGHEST, description="The id of the last event that was heard; 0 is before all of them."),
    ] = None,
    feed: Annotated[
        Telling,
        Query(description="`eventsource` streams events as they come, `normal` lists those that there are as JSON."),
    ] = Telling.EVENTSOURCE,
    limit: Annotated[
        int | None, Query(ge=1, le=1000, description=f"With `feed=normal`: events on a page, {PAGE} unless given.")
    ] = None,
    cursor: Cursor = None,
    heard: Annotated[
        str | None, Header(alias="Last-Event-ID", description="What an event source goes on behind.")
    ] = None,
) -> Response:
    """Tell every change of tasks, streams, crawlers and Externals, once, in the order in which they were committed.

    As server-sent events without end: `id` is the event's, `event` its type, `data` all of it in one line of
    JSON. It begins behind `Last-Event-ID`, or `last_event_id`, or at `since`, or with what happens from now on.

    With `feed=normal`, a page of them as JSON, oldest first, from the oldest one on that is kept unless something
    else is said. Who asks again later goes on with the `last_event_id` of the answer.
    """
    # An event source that comes back sends its first URL again: what it has heard since counts.
    resumed = held_by(heard, "id of an event")
    name = "?last_event_id" if resumed is None else "Last-Event-ID"
    held = last_event_id if resumed is None else resumed
    is_page = feed is Telling.NORMAL
    if not is_page:
        _refuse_pages(limit, cursor)
    position = position_of(cursor, int)
    place = await backend.teller.begin(
        held if position is None else position, wanted.since, name=name, otherwise_all=is_page
    )
    if not is_page:
        return streamed(_told(backend, place, wanted), backend, still_reads)
    page = await backend.teller.page(place, wanted, limit=limit or PAGE)
    following = None if page.is_all else cursor_for(page.place)
    payload = [msgspec.Raw(told.text) for told in page.told]
    return listing_of(request, payload, following, last_event_id=page.place)


async def _told(backend: Parts, place: int, wanted: EventFilter) -> AsyncGenerator[bytes]:
    """Tell events as they come; at first, and in silence, how far was looked, so that nothing is looked at twice."""
    with backend.teller.listening():
        yield b"retry: %d\nid: %d\n\n" % (COME_BACK, place)
        while True:
            heard = await backend.teller.after(place, wanted, seconds=KEEP_ALIVE)
            if heard.told:
                yield b"".join(
                    b"id: %d\nevent: %b\ndata: %b\n\n" % (told.event.id, told.event.type.encode(), told.text)
                    for told in heard.told
                )
            elif backend.teller.is_closed:
                return
            else:
                yield ALIVE + (b"id: %d\n\n" % heard.place if heard.place > place else b"\n")
            place = heard.place


def _refuse_pages(limit: int | None, cursor: str | None) -> None:
    for name, value in (("limit", limit), ("cursor", cursor)):
        if value is not None:
            detail = f"{name} is for pages: send feed=normal with it, or leave it away to follow"
            raise RequestInvalid(f"?{name}: {detail}", flaws=[Flaw(pointer=f"?{name}", detail=detail)])
