"""Several runs undone together, of one stream or of many: asked first, with the way back afterwards."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from headwater.catalog import objects, runs, tasks
from headwater.catalog.audit import acting_as
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.console.confirmation import Confirmation, ConfirmedPart, asked, counting, of_deletion
from headwater.console.routing import Pages, actor_of
from headwater.console.visits import Form, Visit
from headwater.domain.errors import HeadwaterError, RequestInvalid
from headwater.domain.ids import is_fid
from headwater.domain.task import TaskFilter
from headwater.lifecycle import bulk
from headwater.streams import diffs

pages = Pages()

#: What a list of runs is filtered and sorted by.
FILTERS = ("state", "origin", "crawler", "stream", "sort")


@dataclass(frozen=True, kw_only=True)
class UndoneRuns:
    """Runs that a version of a stream has taken out."""

    stream: str
    name: str
    version: int
    tasks: int


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """The runs that are chosen, by stream, and the streams' names."""

    by_stream: Mapping[str, Sequence[str]]
    names: Mapping[str, str]


def filters_of(form: Form) -> str:
    """Return what a list of runs is filtered by, as the query of its URL."""
    return urlencode([(name, value) for name, value in form.pairs if name in FILTERS and value])


def _list_url(form: Form, more: Sequence[tuple[str, str]] = ()) -> str:
    kept = parse_qsl(filters_of(Form(parse_qsl(form.get("list")))))
    query = urlencode([*kept, *more])
    return f"/console/runs?{query}" if query else "/console/runs"


async def _chosen(visit: Visit, form: Form) -> _Chosen:
    given = tuple(dict.fromkeys(fid for fid in form.all("run") if is_fid(fid)))
    if not given:
        raise RequestInvalid("no run is chosen; tick those that are to be undone")

    def read(tx: Transaction) -> _Chosen:
        by_stream: dict[str, list[str]] = {}
        for fid in given:
            by_stream.setdefault(objects.get(tx, objects.TASKS, fid).stream, []).append(fid)
        return _Chosen(by_stream=by_stream, names=runs.names(tx, STREAMS, by_stream))

    return await visit.services.db.read(read)


def _many(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


@pages.get("/runs/undo")
async def ask_undo_runs(visit: Visit) -> Response:
    """Say what undoing runs would do to each of their streams."""
    chosen = await _chosen(visit, visit.query)

    async def part_of(stream: str) -> ConfirmedPart:
        fids = tuple(chosen.by_stream[stream])
        title = f"{chosen.names[stream]}, without {_many(len(fids), 'run')}"
        question = partial(diffs.of_revert, stream=stream, wanted=TaskFilter(tasks=fids))
        try:
            moves = await visit.services.task_diffs.counts_of_moves(question)
        except HeadwaterError as error:
            return ConfirmedPart(title=title, refused=error.detail)
        return ConfirmedPart(title=title, effects=of_deletion(moves))

    async def parts_of() -> list[ConfirmedPart]:
        return await asyncio.gather(*map(part_of, chosen.by_stream))

    fids = [fid for some in chosen.by_stream.values() for fid in some]
    what = _many(len(fids), "run")
    title, back = f"Undo {what} of {_many(len(chosen.by_stream), 'stream')}?", _list_url(visit.query)
    parts = await visit.deferred(parts_of, is_dialog=True)
    if parts is None:
        return counting(visit, title, back=back)
    return asked(
        visit,
        Confirmation(
            title=title,
            action="/console/runs/undo",
            button=f"Undo {what}",
            back=back,
            parts=parts,
            fields=[*(("run", fid) for fid in fids), ("list", visit.query.get("list"))],
            way_back="The way back stands on the next page: Restore puts each run back at its place in the order.",
        ),
    )


@pages.post("/runs/undo", action="revert_stream", about=None)
async def undo_runs(visit: Visit) -> Response:
    """Delete several runs, those of a stream in one version of it; a stream that refuses keeps its own."""
    chosen, services = await _chosen(visit, visit.form), visit.services
    undone: list[tuple[str, str]] = []
    refused: list[str] = []
    for stream, fids in chosen.by_stream.items():
        wanted = TaskFilter(tasks=tuple(fids))
        try:
            with acting_as(actor_of(visit, "revert_stream", "streams", stream)):
                moved = await services.db.write(bulk.revert, stream, wanted, vault=services.vault, at=services.clock())
        except HeadwaterError as error:
            refused.append(f"{chosen.names[stream]} stays as it is: {error.detail}.")
            continue
        if moved.version is not None:
            undone.append(("undone", f"{stream}.{moved.version}"))
        elif moved.tasks:
            refused.append(f"{chosen.names[stream]} showed nothing of these runs, so it stays.")
    return visit.go(_list_url(visit.form, undone), notice=" ".join(refused) or None)


@pages.post("/runs/restore", action="restore_stream", about=None)
async def restore_runs(visit: Visit) -> Response:
    """Restore the runs that versions of streams have removed."""
    services = visit.services
    count, gone = 0, 0
    for stream, version in undone_in(visit.form):
        with acting_as(actor_of(visit, "restore_stream", "streams", stream)):
            moved = await services.db.write(
                bulk.restore, stream, TaskFilter(removed_version=version), at=services.clock()
            )
        count, gone = count + len(moved.tasks), gone + len(moved.purged)
    what = "1 run is back at its place." if count == 1 else f"{count} runs are back at their places."
    lost = f" {gone} could not come back: their documents are purged." if gone else ""
    return visit.go(_list_url(visit.form), notice=f"{what}{lost}")


def undone_in(form: Form) -> list[tuple[str, int]]:
    """Return the streams, and the versions of them that have removed runs, that a URL or a form names."""
    found: list[tuple[str, int]] = []
    for text in form.all("undone"):
        stream, _, version = text.partition(".")
        number = Form([("version", version)]).whole("version")
        if is_fid(stream) and number is not None:
            found.append((stream, number))
    return found


def undone_runs(tx: Transaction, form: Form) -> list[UndoneRuns]:
    """Return what has just been undone, as long as it is."""
    named = undone_in(form)
    names = runs.names(tx, STREAMS, [stream for stream, _ in named])
    found = [
        UndoneRuns(
            stream=stream,
            name=names[stream],
            version=version,
            tasks=len(tasks.matching(tx, stream, TaskFilter(removed_version=version), removed=True)),
        )
        for stream, version in named
    ]
    return [each for each in found if each.tasks]
