"""Which runs brought the documents that match: from there, the stream without them is one step away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.responses import Response

from headwater.catalog import tasks
from headwater.console.pages.stream import head_of
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.errors import RequestInvalid
from headwater.domain.filter import condition_of
from headwater.domain.task import Task
from headwater.streams.bisect import Bisected, Step

pages = Pages()

#: Changes on a page: the latest ones, and the first.
MOST_STEPS = 200
#: Runs that are ticked: the URL of the stream without them names each.
MOST_TICKED = 100


@dataclass(frozen=True, kw_only=True)
class BisectView:
    """What was found, for the page."""

    found: Bisected
    #: The latest changes, oldest first, without the first one if there are too many.
    steps: Sequence[Step]
    #: The runs that are to blame, newest first, at most ``MOST_TICKED``.
    to_undo: Sequence[str]
    runs: Mapping[str, Task]
    #: Parameters that lead back to the documents.
    query: str


@pages.get("/streams/{fid}/bisect")
async def show_bisect(visit: Visit) -> Response:
    """Show which runs brought documents that match, and which removed them."""
    q, where = visit.query.get("q"), visit.query.all("where")
    doc_id = visit.query.get("id") if "id" in visit.query else None
    head = await visit.services.db.read(head_of, visit.fid)
    given = [("q", q)] if q else []
    given += [("where", each) for each in where]
    view, wrong, rest_url, found = None, None, None, None
    try:
        condition = condition_of(q or None, where)
        if condition is not None or doc_id is not None:
            found = await visit.deferred(lambda: visit.services.bisection.runs(visit.fid, condition, doc_id=doc_id))
            rest_url = visit.rest_url if found is None else None
        if found is not None:
            to_undo = list(reversed(found.to_undo))[:MOST_TICKED]
            steps = found.steps[-MOST_STEPS:]
            shown = {step.task for step in [*steps, *([found.first] if found.first else [])] if step.task}
            runs = await visit.services.db.read(tasks.by_fid, shown | set(to_undo))
            view = BisectView(found=found, steps=steps, to_undo=to_undo, runs=runs, query=urlencode(given))
    except RequestInvalid as error:
        wrong = error.detail
    return render(
        visit,
        "stream_bisect.html",
        head=head,
        q=q,
        where=where,
        doc_id=doc_id,
        view=view,
        wrong=wrong,
        rest_url=rest_url,
        tab="documents",
        status=200 if wrong is None else 400,
    )
