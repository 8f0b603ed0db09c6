"""The search of the frame: streams, crawlers, Externals and runs by name or fid."""

from starlette.responses import Response

from headwater.catalog import runs
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit

pages = Pages()

#: Objects that a search shows.
MOST_HITS = 20


@pages.get("/jump")
async def jump(visit: Visit) -> Response:
    """Return what a search finds, as a page or as the part of one."""
    words = visit.query.get("q").strip()[:200]
    hits = await visit.services.db.read(runs.search, words, limit=MOST_HITS) if words else []
    return render(visit, "parts/hits.html" if visit.is_partial else "jump.html", words=words, hits=hits)
