"""The list of streams, and a new one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from headwater.catalog import objects, runs, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.console.listing import ROWS, rows_of
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.ids import is_fid, new_fid
from headwater.domain.stream import Stream
from headwater.domain.task import Task

pages = Pages()

#: Runs that the line of a stream shows.
_POINTS = 12


@dataclass(frozen=True, kw_only=True)
class StreamRow:
    """A stream in the list."""

    stream: Stream
    name: str
    crawler: str | None
    crawler_name: str | None
    latest: Task | None
    #: Documents of its newest runs, oldest first.
    documents: Sequence[int]


@pages.get("/streams")
async def list_streams(visit: Visit) -> Response:
    """Show the streams, newest first."""
    after = visit.query.get("after")

    def read(tx: Transaction) -> list[StreamRow]:
        found = objects.page(tx, STREAMS, where={}, after=after if is_fid(after) else None, limit=ROWS + 1)
        fids = [stream.fid for stream in found]
        crawlers = {crawler.stream: crawler for crawler in runs.crawlers(tx)}
        latest = tasks.latest_of(tx, fids)
        return [
            StreamRow(
                stream=stream,
                name=runs.name_of(stream.fid, stream.meta),
                crawler=crawlers[stream.fid].fid if stream.fid in crawlers else None,
                crawler_name=runs.name_of(crawlers[stream.fid].fid, crawlers[stream.fid].meta)
                if stream.fid in crawlers
                else None,
                latest=latest.get(stream.fid),
                documents=runs.docs_of_newest(tx, stream.fid, limit=_POINTS)[::-1],
            )
            for stream in found
        ]

    found = await visit.services.db.read(read)
    page = rows_of(visit, found, last=found[ROWS - 1].stream.fid if len(found) > ROWS else None)
    return render(visit, "streams.html", page=page)


@pages.post("/streams", action="create_stream", about="streams")
async def create_stream(visit: Visit) -> Response:
    """Create a stream."""
    name = visit.form.get("name").strip()[:200]

    def create(tx: Transaction, at: datetime) -> Stream:
        return objects.add(tx, STREAMS, new_stream(name, at))

    made = await visit.services.db.write(create, visit.services.clock())
    return visit.go(f"/console/streams/{made.fid}")


def new_stream(name: str, at: datetime) -> Stream:
    """Return an empty stream."""
    return Stream(
        fid=new_fid(at),
        stream_version=0,
        top_layer=0,
        docs=0,
        docs_version=0,
        purged_version=0,
        created_at=at,
        updated_at=at,
        version=1,
        meta={"name": name} if name else {},
    )
