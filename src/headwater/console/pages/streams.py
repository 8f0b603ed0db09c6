"""The list of streams, and a new one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from headwater.catalog import crawlers, object_lists, objects, runs, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.object_lists import ObjectOrder
from headwater.catalog.objects import STREAMS
from headwater.console.listing import ROWS, STATES, Choice, place_of, position_of, query_of, rows_of, sorting_of
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.ids import new_fid
from headwater.domain.stream import Stream
from headwater.domain.task import Task

pages = Pages()

#: Runs that the line of a stream shows.
POINTS = 12


#: How the list is sorted, newest first by default.
ORDERS = {
    "": Choice(order=ObjectOrder.CREATED, is_descending=True, words="newest first"),
    "oldest": Choice(order=ObjectOrder.CREATED, is_descending=False, words="oldest first"),
    "name": Choice(order=ObjectOrder.NAME, is_descending=False, words="by name, A to Z"),
    "name-back": Choice(order=ObjectOrder.NAME, is_descending=True, words="by name, Z to A"),
    "most": Choice(order=ObjectOrder.DOCS, is_descending=True, words="most documents"),
    "fewest": Choice(order=ObjectOrder.DOCS, is_descending=False, words="fewest documents"),
    "largest": Choice(order=ObjectOrder.SIZE, is_descending=True, words="largest"),
    "smallest": Choice(order=ObjectOrder.SIZE, is_descending=False, words="smallest"),
    "latest": Choice(order=ObjectOrder.LATEST, is_descending=True, words="latest run first"),
    "longest-ago": Choice(order=ObjectOrder.LATEST, is_descending=False, words="latest run longest ago"),
}


@dataclass(frozen=True, kw_only=True)
class StreamRow:
    """A stream in the list."""

    stream: Stream
    name: str
    crawler: str | None
    crawler_name: str | None
    latest: Task | None
    #: Bytes of the document versions that it keeps.
    size: int
    #: Documents of its newest runs, oldest first.
    documents: Sequence[int]


@pages.get("/streams")
async def list_streams(visit: Visit) -> Response:
    """Show the streams, newest first unless they are sorted."""
    sorting = sorting_of(visit, ORDERS)
    query = query_of(visit, sorting.choice)

    def read(tx: Transaction) -> tuple[list[StreamRow], list[str]]:
        after = place_of(visit, STREAMS, query)
        found = object_lists.page(tx, STREAMS, query, after=after, limit=ROWS + 1)
        return _rows(tx, [each.value for each in found]), [position_of(each.place) for each in found]

    found, positions = await visit.services.db.read(read)
    page = rows_of(visit, found, last=positions[ROWS - 1] if len(found) > ROWS else None)
    return render(visit, "streams.html", page=page, sorting=sorting, query=query, states=STATES)


def _rows(tx: Transaction, found: Sequence[Stream]) -> list[StreamRow]:
    fids = [stream.fid for stream in found]
    filled_by = crawlers.of_streams(tx, fids)
    latest, sizes = tasks.latest_of(tx, fids), object_lists.sizes_of(tx, fids)
    documents = runs.docs_of_newest(tx, fids, limit=POINTS)
    rows: list[StreamRow] = []
    for stream in found:
        crawler = filled_by.get(stream.fid)
        row = StreamRow(
            stream=stream,
            name=runs.name_of(stream.fid, stream.meta),
            crawler=None if crawler is None else crawler.fid,
            crawler_name=None if crawler is None else runs.name_of(crawler.fid, crawler.meta),
            latest=latest.get(stream.fid),
            size=sizes.get(stream.fid, 0),
            documents=documents[stream.fid][::-1],
        )
        rows.append(row)
    return rows


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
