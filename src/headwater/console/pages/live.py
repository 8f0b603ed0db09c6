"""What the frame of every page shows of the present, and streams of what happens."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

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


#: Seconds between two messages of what happens, at least and at most: a busy server says it once for many events. A
#: page that takes longer to load anew asks for longer ones here: its browser would drop the last of several.
_SHORTEST, _LONGEST = 1, 30
#: How long ago a page may have been made, for it to be told at once that something has happened since.
_MEMORY = timedelta(hours=1)
#: Seconds after which a quiet connection is told that it still lives.
_ALIVE = 15.0


@pages.get("/happenings")
async def happenings(visit: Visit) -> Response:
    """Send an event whenever something has happened; the parts of a page that show it load anew.

    Also at once, if something has happened ``since`` the page was made.
    """
    headers = HEADERS | {"X-Accel-Buffering": "no"}
    return StreamingResponse(_happenings(visit), media_type="text/event-stream", headers=headers)


async def _happenings(visit: Visit) -> AsyncIterator[str]:
    feed = visit.services.event_feed
    breath = min(max(visit.query.whole("every") or 0, _SHORTEST), _LONGEST)
    place = await feed.begin(None, _since(visit), name="", from_start=False)
    yield ": here\n\n"
    with feed.listening():
        while not feed.is_closed:
            found = await feed.after(place, EventFilter(), seconds=_ALIVE)
            place = found.place
            if not await visit.services.db.read(keys.is_valid, visit.key.fid, visit.services.clock()):
                return
            yield "event: happened\ndata: .\n\n" if found.events else ": still here\n\n"
            await asyncio.sleep(breath)


def _since(visit: Visit) -> datetime | None:
    """Return the time that the URL names; None if it is none, or is too long ago to look at what has happened since."""
    try:
        moment = datetime.fromisoformat(visit.query.get("since"))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and moment > visit.at - _MEMORY else None
