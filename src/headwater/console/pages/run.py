"""A run: its state and progress, what it did, its rejected lines, and what can be done about it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from starlette.responses import Response, StreamingResponse

from headwater.catalog import externals, keys, objects, rejects, runs, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS, EXTERNALS, STREAMS, TASKS
from headwater.catalog.vault import redact
from headwater.console import json_markup, what_changed
from headwater.console.confirmation import Confirmation, asked, counting, of_deletion, of_restoration
from headwater.console.rendering import HEADERS, part, render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.console.what_changed import Changes
from headwater.domain.errors import VersionForgotten
from headwater.domain.event import EventFilter
from headwater.domain.reject import Reject
from headwater.domain.task import Attempt, Task
from headwater.lifecycle import publication
from headwater.lifecycle import tasks as task_actions
from headwater.streams import diffs
from headwater.streams.documents import Arrivals

pages = Pages()

#: Rejected lines, and documents, of a page; characters of the documents after which it ends, for the size of its HTML.
LINES = 50
MOST_TEXT = 15_000
#: Seconds between two looks at a run that is under way and of which nothing is heard.
LOOK_EVERY = 2.0


@dataclass(frozen=True, kw_only=True)
class RunHead:
    """A run, with what it belongs to."""

    task: Task
    crawler: str
    stream: str
    external: str
    #: Whether its crawler is a script that Headwater does not start.
    is_push: bool
    attempts: Sequence[Attempt]

    @property
    def seconds(self) -> float | None:
        """How long the attempt took; None while it is open."""
        return None if self.task.ended_at is None else (self.task.ended_at - self.task.started_at).total_seconds()


def head_of(tx: Transaction, fid: str) -> RunHead:
    """Return a run, with what it belongs to.

    Raises:
        NotFound: it does not exist.
    """
    task = objects.get(tx, TASKS, fid)
    external = externals.to_run(tx, task.external, task.external_version)
    return RunHead(
        task=task,
        crawler=runs.names(tx, CRAWLERS, [task.crawler])[task.crawler],
        stream=runs.names(tx, STREAMS, [task.stream])[task.stream],
        external=runs.names(tx, EXTERNALS, [task.external])[task.external],
        is_push=external.is_push,
        attempts=tasks.attempts_of(tx, fid, before=None, limit=50),
    )


@pages.get("/runs/{fid}")
async def show_run(visit: Visit) -> Response:
    """Show what a run did."""
    head = await visit.services.db.read(head_of, visit.fid)
    after = visit.query.get("after") if "after" in visit.query else None
    changes, forgotten, rest_url = None, None, None

    async def what_it_did() -> Changes:
        services, operation = visit.services, visit.query.get("op")
        return await what_changed.of_run(services.task_diffs, head.task, operation=operation, after=after)

    try:
        changes = await visit.deferred(what_it_did)
        rest_url = visit.rest_url if changes is None else None
    except VersionForgotten as error:
        forgotten = error.detail
    return render(visit, "run.html", head=head, changes=changes, forgotten=forgotten, rest_url=rest_url, tab="changes")


@pages.get("/runs/{fid}/documents")
async def show_documents(visit: Visit) -> Response:
    """Show the documents of a run in the order in which they came."""
    head = await visit.services.db.read(head_of, visit.fid)
    reader, after = visit.services.reader, visit.query.whole("after")
    found = await visit.deferred(partial(reader.arrivals, visit.fid, after=after, limit=LINES, most_text=MOST_TEXT))
    rest_url = visit.rest_url if found is None else None
    found = found or Arrivals(docs=[], next_after=None)
    docs = [(one.id, json_markup.decoded(one.text)) for one in found.docs]
    next_url = None if found.next_after is None else visit.here(after=str(found.next_after))
    template = "run_documents.html"
    return render(visit, template, head=head, docs=docs, next_url=next_url, rest_url=rest_url, tab="documents")


@pages.get("/runs/{fid}/rejected")
async def show_rejected(visit: Visit) -> Response:
    """Show the lines that were rejected, and why."""

    def read(tx: Transaction) -> tuple[RunHead, list[Reject]]:
        head = head_of(tx, visit.fid)
        after = visit.query.whole("after") or 0
        return head, rejects.page(tx, visit.fid, head.task.attempt, after=after, limit=LINES + 1)

    head, found = await visit.services.db.read(read)
    next_url = visit.here(after=str(found[LINES - 1].seq)) if len(found) > LINES else None
    return render(visit, "run_rejected.html", head=head, lines=found[:LINES], next_url=next_url, tab="rejected")


@pages.get("/runs/{fid}/details")
async def show_details(visit: Visit) -> Response:
    """Show the message, the detail, the parameters and the attempts."""
    head = await visit.services.db.read(head_of, visit.fid)
    task = head.task
    return render(
        visit,
        "run_details.html",
        head=head,
        params=redact(task.params),
        traceback=_text_of(task.detail),
        statistics=_statistics(task.detail),
        visible=json_markup.escaped,
        tab="details",
    )


def _text_of(detail: Any) -> str | None:
    """Return a long text in the detail, such as a traceback."""
    if isinstance(detail, str):
        return detail
    if isinstance(detail, dict):
        members = cast("dict[str, Any]", detail)
        texts = [value for value in members.values() if isinstance(value, str) and "\n" in value]
        return texts[0] if texts else None
    return None


def _statistics(detail: Any) -> list[tuple[str, Any]]:
    """Return a flat object of numbers and texts, such as the statistics of Scrapy, as rows."""
    if not isinstance(detail, dict):
        return []
    members = cast("dict[str, Any]", detail)
    inner = members.get("stats", members)
    if not isinstance(inner, dict):
        return []
    rows = sorted(cast("dict[str, Any]", inner).items())
    return [(str(name), value) for name, value in rows if _is_short(value)][:200]


def _is_short(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and "\n" not in value)


@pages.get("/runs/{fid}/live")
async def follow(visit: Visit) -> Response:
    """Send the progress of a run as it changes, and an event when it has ended."""
    return StreamingResponse(
        _progress(visit), media_type="text/event-stream", headers=HEADERS | {"X-Accel-Buffering": "no"}
    )


async def _progress(visit: Visit) -> AsyncIterator[str]:
    feed, wanted = visit.services.event_feed, EventFilter(task=visit.fid)
    place = await feed.begin(None, None, name="", from_start=False)
    shown = ""
    with feed.listening():
        while not feed.is_closed:
            head = await visit.services.db.read(head_of, visit.fid)
            text = part(visit, "parts/progress.html", head=head)
            if text != shown:
                shown = text
                yield _message(text)
            else:
                yield ": still here\n\n"
            if not head.task.is_open:
                yield "event: ended\ndata: ended\n\n"
                return
            place = (await feed.after(place, wanted, seconds=LOOK_EVERY)).place
            if not await visit.services.db.read(keys.is_valid, visit.key.fid, visit.services.clock()):
                return


def _message(text: str) -> str:
    return "".join(f"data: {line}\n" for line in text.splitlines()) + "\n"


@pages.get("/runs/{fid}/stop")
async def ask_stop(visit: Visit) -> Response:
    """Say what stopping a run does."""
    task = await visit.services.db.read(objects.get, TASKS, visit.fid)
    waits = task.retry_at is not None
    lines = (
        ["It has ended and waits for its next attempt; this cancels that."]
        if waits
        else [
            (
                f"It ends with 410 now. The {task.docs:,} documents that it has brought stay in the stream, "
                "and its crawler is told to stop."
            )
        ]
    )
    return _asked(visit, "Cancel the retry?" if waits else "Stop this run?", "stop", "Stop", lines=lines)


@pages.post("/runs/{fid}/stop", action="stop_task", about="tasks")
async def stop(visit: Visit) -> Response:
    """Stop a run."""
    services = visit.services
    await services.db.write(task_actions.stop, visit.fid, vault=services.vault, at=services.clock())
    return visit.go(
        f"/console/runs/{visit.fid}", notice="Stopped. What it brought stays in the stream until you undo it."
    )


@pages.get("/runs/{fid}/retry")
async def ask_retry(visit: Visit) -> Response:
    """Say what retrying a run does."""
    head = await visit.services.db.read(head_of, visit.fid)
    task = head.task
    lines = [
        (
            f"Attempt {task.attempt + 1} begins. What attempt {task.attempt} brought stays in the stream until the new "
            "one ends with 200, and is replaced by its documents in that one step."
        )
    ]
    if head.is_push:
        lines.append("Its crawler is a script that Headwater does not start: run it with the token shown then.")
    return _asked(visit, "Run it again?", "retry", "Retry", lines=lines)


@pages.post("/runs/{fid}/retry", action="retry_task", about="tasks")
async def retry(visit: Visit) -> Response:
    """Begin the next attempt of a run."""
    services = visit.services
    task = await services.db.read(objects.get, TASKS, visit.fid)
    opened = await services.db.write(
        task_actions.retry, task.crawler, visit.fid, {}, vault=services.vault, at=services.clock()
    )
    notice = None if opened.begun else "This run of the crawler is under way already, so that no other one was begun."
    return visit.go(f"/console/runs/{opened.task.fid}", notice=notice)


@pages.get("/runs/{fid}/undo")
async def ask_undo(visit: Visit) -> Response:
    """Say what undoing a run would do."""
    head = await visit.services.db.read(head_of, visit.fid)
    question, title = partial(diffs.of_delete, fid=visit.fid), "Undo this run?"
    moves = await visit.deferred(partial(visit.services.task_diffs.counts_of_moves, question), is_dialog=True)
    if moves is None:
        return counting(visit, title, back=f"/console/runs/{visit.fid}")
    return _asked(
        visit,
        title,
        "undo",
        "Undo this run",
        lines=[f"The run of {head.crawler} that began {head.task.started_at:%d %b %H:%M} UTC, in {head.stream}:"],
        effects=of_deletion(moves),
        way_back="Restore, on this page, puts it back at its place in the order.",
    )


@pages.post("/runs/{fid}/undo", action="delete_task", about="tasks")
async def undo(visit: Visit) -> Response:
    """Take a run's documents out of its stream."""
    services = visit.services
    await services.db.write(task_actions.delete, visit.fid, vault=services.vault, at=services.clock())
    return visit.go(f"/console/runs/{visit.fid}")


@pages.get("/runs/{fid}/restore")
async def ask_restore(visit: Visit) -> Response:
    """Say what restoring a run would do."""
    question, title = partial(diffs.of_restore, fid=visit.fid), "Restore this run?"
    moves = await visit.deferred(lambda: visit.services.task_diffs.counts_of_moves(question), is_dialog=True)
    if moves is None:
        return counting(visit, title, back=f"/console/runs/{visit.fid}")
    return _asked(
        visit,
        title,
        "restore",
        "Restore",
        effects=of_restoration(moves),
        way_back="It can be undone again.",
    )


@pages.post("/runs/{fid}/restore", action="restore_task", about="tasks")
async def restore(visit: Visit) -> Response:
    """Put a run's documents back at their place."""
    await visit.services.db.write(task_actions.restore, visit.fid, at=visit.services.clock())
    return visit.go(f"/console/runs/{visit.fid}", notice="Restored: the run is back at its place in the stream.")


@pages.get("/runs/{fid}/publish")
async def ask_publish(visit: Visit) -> Response:
    """Say what publishing a withheld run does."""

    def read(tx: Transaction) -> tuple[Task, int | None]:
        task = objects.get(tx, TASKS, visit.fid)
        return task, tasks.last_good_docs(tx, task)

    task, before = await visit.services.db.read(read)
    lines = [str(task.message or "")] if task.message else []
    compared = "" if before is None else f", beside the {before:,} of the last good run"
    lines.append(f"Its {task.docs:,} documents{compared} take their place in the stream, all in one step.")
    return _asked(visit, "Publish it all the same?", "publish", "Publish", lines=lines, way_back="It can be undone.")


@pages.post("/runs/{fid}/publish", action="publish_task", about="tasks")
async def publish(visit: Visit) -> Response:
    """Publish a run that a gate has withheld."""
    await visit.services.db.write(publication.publish, visit.fid, at=visit.services.clock())
    return visit.go(f"/console/runs/{visit.fid}", notice="Published: its documents show in the stream.")


@pages.get("/runs/{fid}/replay")
async def ask_replay(visit: Visit) -> Response:
    """Say what replaying the rejected lines does."""
    task = await visit.services.db.read(objects.get, TASKS, visit.fid)
    lines = [
        (
            f"The {task.rejected:,} rejected lines are checked again, by the schema that is in use now. Those that "
            "pass become documents of this run, at its place in the order; the others stay rejected."
        )
    ]
    return _asked(visit, "Replay the rejected lines?", "replay", "Replay", lines=lines)


@pages.post("/runs/{fid}/replay", action="replay_rejects", about="tasks")
async def replay(visit: Visit) -> Response:
    """Check the rejected lines of a run again."""
    done = await visit.services.replays.replay(visit.fid)
    covered = f" {done.covered:,} passed too, but the run has brought newer versions." if done.covered else ""
    brought = "1 line is a document" if done.replayed == 1 else f"{done.replayed:,} lines are documents"
    left = "1 is" if done.rejected == 1 else f"{done.rejected:,} are"
    notice = f"{brought} now, {left} still rejected.{covered}"
    return visit.go(f"/console/runs/{visit.fid}/rejected", notice=notice)


def _asked(visit: Visit, title: str, action: str, button: str, **more: Any) -> Response:
    page = f"/console/runs/{visit.fid}"
    return asked(visit, Confirmation(title=title, action=f"{page}/{action}", button=button, back=page, **more))
