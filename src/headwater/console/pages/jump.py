"""The search of the frame: streams, crawlers, Externals and runs by name or fid, and documents of a stream by id."""

from starlette.responses import Response

from headwater.catalog import runs
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.errors import HeadwaterError
from headwater.domain.ids import is_fid
from headwater.streams.views import NOW

pages = Pages()

#: Objects that a search shows.
MOST_HITS = 20


@pages.get("/jump")
async def jump(visit: Visit) -> Response:
    """Return what a search finds, as a page or as the part of one."""
    words = visit.query.get("q").strip()[:200]
    hits = await visit.services.db.read(runs.search, words, limit=MOST_HITS) if words else []
    stream = visit.query.get("stream")
    has_document = bool(words) and is_fid(stream) and await _has_document(visit, stream, words)
    template = "parts/hits.html" if visit.is_partial else "jump.html"
    return render(visit, template, words=words, hits=hits, stream=stream, has_document=has_document)


async def _has_document(visit: Visit, stream: str, doc_id: str) -> bool:
    """Whether a stream shows a document; not if that cannot be told."""
    try:
        await visit.services.reader.one(stream, NOW, doc_id)
    except HeadwaterError:
        return False
    return True
