"""What the frame of every page shows of the present, and streams of what happens."""

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from headwater.catalog import keys, runs
from headwater.console.rendering import HEADERS, render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.event import EventFilter

pages = Pages()


@pages.get("/open-runs")
async def open_runs(visit: Visit) -> Response:
    """Return how many runs are open."""
    return render(visit, "parts/open_runs.html", count=await visit.services.db.read(runs.count_open))


#: Seconds between two messages of what happens, at least: a busy server says it once for many events.
_BREATH = 1.0
#: Seconds after which a quiet connection is told that it still lives.
_ALIVE = 15.0


@pages.get("/happenings")
async def happenings(visit: Visit) -> Response:
    """Send an event whenever something has happened; the parts of a page that show it load anew."""
    headers = HEADERS | {"X-Accel-Buffering": "no"}
    return StreamingResponse(_happenings(visit), media_type="text/event-stream", headers=headers)


async def _happenings(visit: Visit) -> AsyncIterator[str]:
    feed = visit.services.event_feed
    place = await feed.begin(None, None, name="", from_start=False)
    yield ": here\n\n"
    with feed.listening():
        while not feed.is_closed:
            found = await feed.after(place, EventFilter(), seconds=_ALIVE)
            place = found.place
            if not await visit.services.db.read(keys.is_valid, visit.key.fid, visit.services.clock()):
                return
            yield "event: happened\ndata: .\n\n" if found.events else ": still here\n\n"
            await asyncio.sleep(_BREATH)
