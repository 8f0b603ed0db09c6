"""The list of runs, and several of a stream undone together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from starlette.responses import Response

from headwater.catalog import objects, runs
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS, STREAMS
from headwater.catalog.runs import RunFilter
from headwater.catalog.task_lists import TaskOrder
from headwater.console.confirmation import Confirmation, asked, counting, of_deletion
from headwater.console.listing import ROWS, STATES, Choice, Rows, rows_of, sorting_of
from headwater.console.pages.runs_undo import FILTERS, UndoneRuns, filters_of, undone_runs
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.errors import RequestInvalid
from headwater.domain.ids import is_fid
from headwater.domain.task import Origin, Task, TaskFilter, TaskState
from headwater.lifecycle import bulk
from headwater.streams import diffs

pages = Pages()

#: How lists are sorted, newest first by default.
ORDERS = {
    "": Choice(order=TaskOrder.CREATED, is_descending=True, words="newest first"),
    "oldest": Choice(order=TaskOrder.CREATED, is_descending=False, words="oldest first"),
    "most": Choice(order=TaskOrder.DOCS, is_descending=True, words="most documents"),
    "fewest": Choice(order=TaskOrder.DOCS, is_descending=False, words="fewest documents"),
    "longest": Choice(order=TaskOrder.DURATION, is_descending=True, words="longest"),
    "shortest": Choice(order=TaskOrder.DURATION, is_descending=False, words="shortest"),
}
#: New runs that are counted; more are “100+”.
MOST_NEW = 100


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run in a list."""

    task: Task
    crawler: str
    stream: str


@dataclass(frozen=True, kw_only=True)
class FilterForm:
    """The filter as its form shows it."""

    state: str
    origin: str
    crawler: str
    stream: str
    #: The names of the crawler and the stream that are chosen.
    named: dict[str, str]
    #: All of it as the query of a URL.
    query: str
    states: Sequence[str] = STATES
    origins: Sequence[str] = tuple(map(str, Origin))


def wanted_of(visit: Visit) -> RunFilter:
    """Return the filter of the URL; what it does not know is left out."""
    state, origin = visit.query.get("state"), visit.query.get("origin")
    return RunFilter(
        states=(TaskState(state),) if state in set(TaskState) else (),
        origin=Origin(origin) if origin in set(Origin) else None,
        crawler=_fid(visit.query.get("crawler")),
        stream=_fid(visit.query.get("stream")),
        is_withheld=state == "withheld",
        is_removed=state == "undone",
    )


def _fid(text: str) -> str | None:
    return text if is_fid(text) else None


@pages.get("/runs")
async def list_runs(visit: Visit) -> Response:
    """Show the runs, newest first."""
    wanted = wanted_of(visit)
    sorting = sorting_of(visit, ORDERS)
    sort, how = sorting.chosen, sorting.choice

    def read(tx: Transaction) -> tuple[list[RunRow], dict[str, str], list[UndoneRuns]]:
        after = _fid(visit.query.get("after"))
        if sort:
            found = runs.sorted_page(
                tx, wanted, order=how.order, is_descending=how.is_descending, after=after, limit=ROWS + 1
            )
        else:
            found = runs.page(tx, wanted, after=after, limit=ROWS + 1)
        chosen = {
            fid: name
            for kind, fid in ((CRAWLERS, wanted.crawler), (STREAMS, wanted.stream))
            if fid is not None
            for name in runs.names(tx, kind, [fid]).values()
        }
        return rows(tx, found), chosen, undone_runs(tx, visit.query)

    found, named, undone = await visit.services.db.read(read)
    page: Rows[RunRow] = rows_of(visit, found, last=found[ROWS - 1].task.fid if len(found) > ROWS else None)
    form = FilterForm(
        state=visit.query.get("state"),
        origin=visit.query.get("origin"),
        crawler=wanted.crawler or "",
        stream=wanted.stream or "",
        named=named,
        query=filters_of(visit.query),
    )
    newest = page.rows[0].task.fid if page.rows and page.first_url is None and not sort else None
    newer_url = _newer_url(visit, newest)
    return render(visit, "runs.html", page=page, filter=form, sorting=sorting, newer_url=newer_url, undone=undone)


def rows(tx: Transaction, found: Sequence[Task]) -> list[RunRow]:
    """Return runs with the names of what they belong to."""
    crawlers = runs.names(tx, CRAWLERS, {task.crawler for task in found})
    streams = runs.names(tx, STREAMS, {task.stream for task in found})
    return [RunRow(task=task, crawler=crawlers[task.crawler], stream=streams[task.stream]) for task in found]


def _newer_url(visit: Visit, newest: str | None) -> str | None:
    if newest is None:
        return None
    query = [(name, value) for name, value in visit.query.pairs if name in FILTERS]
    return f"/console/newer-runs?{urlencode([*query, ('than', newest)])}"


@pages.get("/newer-runs")
async def newer_runs(visit: Visit) -> Response:
    """Return how many runs have come since the list was loaded."""
    than = _fid(visit.query.get("than"))
    count = (
        0
        if than is None
        else await visit.services.db.read(partial(runs.newer, than=than, most=MOST_NEW), wanted_of(visit))
    )
    back = filters_of(visit.query)
    url = f"/console/runs?{back}" if back else "/console/runs"
    return render(visit, "parts/newer_runs.html", count=count, most=MOST_NEW, url=url)


@pages.get("/streams/{fid}/undo")
async def ask_undo(visit: Visit) -> Response:
    """Say what undoing several runs of a stream would do."""
    stream = await visit.services.db.read(objects.get, STREAMS, visit.fid)
    chosen = _chosen(visit.query.all("run"))
    question = partial(diffs.of_revert, stream=visit.fid, wanted=TaskFilter(tasks=chosen))
    what = "this run" if len(chosen) == 1 else f"these {len(chosen)} runs"
    title = f"Undo {what} of {runs.name_of(stream.fid, stream.meta)}?"
    moves = await visit.deferred(lambda: visit.services.task_diffs.counts_of_moves(question), is_dialog=True)
    if moves is None:
        return counting(visit, title, back=f"/console/streams/{visit.fid}")
    return asked(
        visit,
        Confirmation(
            title=title,
            action=f"/console/streams/{visit.fid}/undo",
            button=f"Undo {what}",
            back=f"/console/streams/{visit.fid}",
            effects=of_deletion(moves),
            fields=[("run", fid) for fid in chosen],
            way_back="The way back stands on the next page: Restore puts each run back at its place in the order.",
        ),
    )


@pages.post("/streams/{fid}/undo", action="revert_stream", about="streams")
async def undo(visit: Visit) -> Response:
    """Delete several runs of a stream, in one version of it."""
    wanted = TaskFilter(tasks=_chosen(visit.form.all("run")))
    services = visit.services
    moved = await services.db.write(bulk.revert, visit.fid, wanted, vault=services.vault, at=services.clock())
    if moved.version is None:
        return visit.go(f"/console/streams/{visit.fid}", notice="The stream showed nothing of these runs, so it stays.")
    return visit.go(f"/console/streams/{visit.fid}?undone={moved.version}")


@pages.post("/streams/{fid}/restore", action="restore_stream", about="streams")
async def restore(visit: Visit) -> Response:
    """Restore the runs that a version of the stream has removed, in one version of it."""
    version = visit.form.whole("undone")
    if version is None:
        raise RequestInvalid("which runs are to come back is not said; restore a run on its own page")
    services = visit.services
    moved = await services.db.write(bulk.restore, visit.fid, TaskFilter(removed_version=version), at=services.clock())
    gone = f" {len(moved.purged)} could not come back: their documents are purged." if moved.purged else ""
    count = len(moved.tasks)
    what = "1 run is back at its place" if count == 1 else f"{count} runs are back at their places"
    return visit.go(f"/console/streams/{visit.fid}", notice=f"{what} in the stream.{gone}")


def _chosen(given: Sequence[str]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(fid for fid in given if is_fid(fid)))
    if not chosen:
        raise RequestInvalid("no run is chosen; tick those that are to be undone")
    return chosen
