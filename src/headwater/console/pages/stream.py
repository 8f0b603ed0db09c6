"""A stream: its documents, its runs as layers, what it would be without some of them, its log."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from headwater.catalog import crawlers, objects, runs, streams, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.console import document_table, what_changed
from headwater.console.document_table import DocumentTable
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.crawler import Crawler
from headwater.domain.download_name import attachment
from headwater.domain.errors import RequestInvalid
from headwater.domain.filter import Condition, Operator, condition_of
from headwater.domain.ids import is_fid
from headwater.domain.stream import LogEntry, Stream
from headwater.domain.task import Task, TaskFilter
from headwater.lake.diff import Moves, Operation
from headwater.streams import diffs
from headwater.streams.export import ExportFormat, Layout, Selection, pieces
from headwater.streams.views import View

pages = Pages()

#: Documents of a page, layers of the stack, lines of the log.
DOCS = 40
LAYERS = 30
LINES = 100
_PLAIN_NAME = re.compile(r"[\w.-]+")
_LITERAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null")


@dataclass(frozen=True, kw_only=True)
class StreamHead:
    """A stream, with what feeds it."""

    stream: Stream
    name: str
    crawler: Crawler | None
    crawler_name: str | None
    #: When it reached its present version.
    changed_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class StreamView:
    """What the URL asks to see of the stream."""

    view: View
    q: str
    where: Sequence[str]
    columns: Sequence[str]
    condition: Condition | None
    #: Why the condition could not be understood.
    wrong: str | None


@dataclass(frozen=True, kw_only=True)
class Undone:
    """Runs that a version of the stream has taken out."""

    version: int
    tasks: int


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What the stream would be without some runs."""

    runs: Sequence[str]
    moves: Moves
    undo_query: str


@dataclass(frozen=True, kw_only=True)
class ShownDocuments:
    """What of the page has to be looked for in the documents."""

    table: DocumentTable
    preview: Preview | None
    next_after: str | None


def head_of(tx: Transaction, fid: str) -> StreamHead:
    """Return a stream, with what feeds it.

    Raises:
        NotFound: it does not exist.
    """
    stream = objects.get(tx, STREAMS, fid)
    crawler = crawlers.of_stream(tx, fid)
    return StreamHead(
        stream=stream,
        name=runs.name_of(fid, stream.meta),
        crawler=crawler,
        crawler_name=None if crawler is None else runs.name_of(crawler.fid, crawler.meta),
        changed_at=streams.began_at(tx, fid, stream.stream_version),
    )


def _asked(visit: Visit) -> StreamView:
    q, where = visit.query.get("q"), visit.query.all("where")
    try:
        condition, wrong = condition_of(q or None, where), None
    except RequestInvalid as error:
        condition, wrong = None, error.detail
    without = frozenset(fid for some in visit.query.all("without") for fid in some.split(",") if is_fid(fid))
    return StreamView(
        view=View(as_of=visit.query.whole("as_of"), without=without),
        q=q,
        where=where,
        columns=visit.query.all("column"),
        condition=condition,
        wrong=wrong,
    )


@pages.get("/streams/{fid}")
async def show_stream(visit: Visit) -> Response:
    """Show the documents of a stream, and its runs as layers."""
    if "field" in visit.query:
        return visit.go(_with_comparison(visit))
    asked = _asked(visit)

    def read(tx: Transaction) -> tuple[StreamHead, list[Task], Undone | None, datetime | None]:
        head = head_of(tx, visit.fid)
        layers = runs.of_stream(tx, visit.fid, limit=LAYERS)
        as_of = asked.view.as_of
        return head, layers, _undone(tx, visit), None if as_of is None else streams.began_at(tx, visit.fid, as_of)

    head, layers, undone, moment = await visit.services.db.read(read)
    shown = await visit.deferred(lambda: _shown(visit, asked))
    loads_images = visit.query.get("pictures") == "yes"
    return render(
        visit,
        "stream.html",
        loads_images=loads_images,
        has_pictures=loads_images,
        head=head,
        asked=asked,
        table=document_table.table_of([], chosen=asked.columns) if shown is None else shown.table,
        layers=layers,
        preview=None if shown is None else shown.preview,
        rest_url=visit.rest_url if shown is None else None,
        undone=undone,
        moment=moment,
        operators=[str(operator) for operator in Operator],
        next_url=None if shown is None or shown.next_after is None else visit.here(after=shown.next_after),
        export_query=urlencode(_same_view(visit)),
        bisect_query=urlencode([(name, value) for name, value in _same_view(visit) if name in {"q", "where"}]),
        formats=[str(form) for form in ExportFormat],
        tab="documents",
    )


async def _shown(visit: Visit, asked: StreamView) -> ShownDocuments:
    after = visit.query.get("after") if "after" in visit.query else None
    reading = visit.services.reader
    page = await reading.page(visit.fid, asked.view, after=after, limit=DOCS, condition=asked.condition)
    docs = [(found.id, found.text) for found in page.docs]
    preview, present = None, None
    if asked.view.without:
        preview = await _preview(visit, asked)
        now = await reading.page(
            visit.fid, View(as_of=asked.view.as_of), after=after, limit=2 * DOCS, condition=asked.condition
        )
        last = docs[-1][0] if page.next_after is not None and docs else None
        present = [(found.id, found.text) for found in now.docs if last is None or found.id <= last]
    table = document_table.table_of(docs, chosen=asked.columns, present=present)
    return ShownDocuments(table=table, preview=preview, next_after=page.next_after)


def _undone(tx: Transaction, visit: Visit) -> Undone | None:
    version = visit.query.whole("undone")
    if version is None:
        return None
    found = tasks.matching(tx, visit.fid, TaskFilter(removed_version=version), removed=True)
    return Undone(version=version, tasks=len(found)) if found else None


async def _preview(visit: Visit, asked: StreamView) -> Preview:
    chosen = sorted(asked.view.without)
    question = partial(diffs.of_revert, stream=visit.fid, wanted=TaskFilter(tasks=tuple(chosen)))
    moves = await visit.services.task_diffs.counts_of_moves(question)
    return Preview(runs=chosen, moves=moves, undo_query=urlencode([("run", fid) for fid in chosen]))


def _same_view(visit: Visit) -> list[tuple[str, str]]:
    return [(name, value) for name, value in visit.query.pairs if name in {"q", "where", "as_of", "without"} and value]


def _with_comparison(visit: Visit) -> str:
    """Return the URL of this page with the comparison that the builder's fields make."""
    field, operator, value = (visit.query.get(name).strip() for name in ("field", "operator", "value"))
    kept = [pair for pair in visit.query.pairs if pair[0] not in {"field", "operator", "value", "after"} and pair[1]]
    if field:
        name = field if _PLAIN_NAME.fullmatch(field) or field.startswith("/") else json.dumps(field, ensure_ascii=False)
        shown = value if _LITERAL.fullmatch(value) or value.startswith('"') else json.dumps(value, ensure_ascii=False)
        kept.append(("where", f"{name}{operator or '='}{shown}"))
    return f"{visit.request.url.path}?{urlencode(kept)}"


@pages.get("/streams/{fid}/differences")
async def show_differences(visit: Visit) -> Response:
    """Show the documents that would be different without some runs."""
    asked = _asked(visit)
    head = await visit.services.db.read(head_of, visit.fid)
    question = partial(diffs.of_revert, stream=visit.fid, wanted=TaskFilter(tasks=tuple(sorted(asked.view.without))))
    operation = {"gone": Operation.REMOVED}.get(visit.query.get("show"), Operation.REPLACED)
    after = visit.query.get("after") if "after" in visit.query else None
    found = await visit.deferred(lambda: what_changed.page(visit.services.task_diffs, question, operation, after=after))
    documents, following = found or ([], None)
    return render(
        visit,
        "stream_differences.html",
        head=head,
        documents=documents,
        is_gone=operation is Operation.REMOVED,
        rest_url=visit.rest_url if found is None else None,
        next_url=None if following is None else visit.here(after=following),
        back=f"/console/streams/{visit.fid}?{urlencode([('without', fid) for fid in sorted(asked.view.without)])}",
        tab="documents",
    )


@pages.get("/streams/{fid}/log")
async def show_log(visit: Visit) -> Response:
    """Show what changed the stream, newest first."""

    def read(tx: Transaction) -> tuple[StreamHead, list[LogEntry]]:
        before = visit.query.whole("after")
        return head_of(tx, visit.fid), streams.log(tx, visit.fid, before=before, limit=LINES + 1)

    head, lines = await visit.services.db.read(read)
    next_url = visit.here(after=str(lines[LINES - 1].version)) if len(lines) > LINES else None
    return render(visit, "stream_log.html", head=head, lines=lines[:LINES], next_url=next_url, tab="log")


@pages.get("/streams/{fid}/settings")
async def show_settings(visit: Visit) -> Response:
    """Show the name and description of a stream, to be changed."""
    head = await visit.services.db.read(head_of, visit.fid)
    return render(visit, "stream_settings.html", head=head, tab="settings")


@pages.post("/streams/{fid}/settings", action="patch_stream", about="streams")
async def change_settings(visit: Visit) -> Response:
    """Change the name and description of a stream."""

    def change(tx: Transaction, at: datetime) -> None:
        old = objects.get(tx, STREAMS, visit.fid, lock=True)
        given = {name: visit.form.get(name).strip()[:10_000] for name in ("name", "description")}
        meta = {name: value for name, value in {**old.meta, **given}.items() if value != ""}
        objects.save(tx, STREAMS, old, replace(old, meta=meta, **objects.edited(at, old.version)))

    await visit.services.db.write(change, visit.services.clock())
    return visit.go(f"/console/streams/{visit.fid}/settings", notice="Saved.")


@pages.get("/streams/{fid}/export")
async def export(visit: Visit) -> Response:
    """Download the documents of a view."""
    asked = _asked(visit)
    if asked.wrong is not None:
        raise RequestInvalid(asked.wrong)
    given = visit.query.get("format", "ndjson")
    form = ExportFormat(given) if given in set(ExportFormat) else ExportFormat.NDJSON
    is_csv = form is ExportFormat.CSV
    layout = Layout(infer=form is ExportFormat.PARQUET, is_defused=is_csv, has_mark=is_csv)
    documents = await visit.services.reader.documents(visit.fid, asked.view)
    selection = Selection(condition=asked.condition, fields=document_table.top_level(asked.columns))
    file = await pieces(
        visit.services.reader, visit.services.engine, documents, form, selection=selection, layout=layout
    )
    name = str(documents.stream.meta.get("name") or "")
    disposition = attachment(name, visit.fid, f"-v{documents.view.as_of}.{form}")
    return StreamingResponse(file, media_type=form.media_type, headers={"Content-Disposition": disposition})
