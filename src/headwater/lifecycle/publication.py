"""Publication of a successful attempt's documents in its stream, and the gates that may withhold them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from headwater.catalog import objects, rejects, segments, streams, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS, STREAMS, TASKS
from headwater.domain.crawler import Crawler
from headwater.domain.errors import NothingToPublish, TaskPurged, TaskRemoved
from headwater.domain.gates import failures, overruled, verdict
from headwater.domain.stream import Change, Segment
from headwater.domain.task import Mode, Reason, Task, TaskState
from headwater.lifecycle import expectations


def judge(tx: Transaction, old: Task, done: Task, *, at: datetime) -> Task:
    """Publish a successful attempt, or withhold it if it fails a gate of its crawler.

    ``old`` is the task before its end, locked; ``done`` is what is about to be stored. Return what to store instead.
    """
    crawler: Crawler = objects.get(tx, CRAWLERS, old.crawler)
    if old.mode is Mode.SNAPSHOT:
        segments.add_floor(tx, old, at=at)
    if crawler.gates is not None and not crawler.gates.are_open:
        before = tasks.last_good_docs(tx, old)
        failed = failures(crawler.gates, docs=old.docs, rejected=old.rejected, before=before)
        if failed:
            _withhold(tx, old, at=at)
            message, detail = verdict(failed, message=done.message, detail=done.detail)
            return replace(done, reason=Reason.GATE_FAILED, message=message, detail=detail)
    _take_place(tx, old, at=at)
    expectations.meet(tx, crawler, old, at=at)
    return done


def publish(tx: Transaction, fid: str, *, at: datetime) -> Task:
    """Publish a withheld task despite its failed gate: its documents take their regular place.

    Raises:
        NotFound: there is no such task.
        TaskRemoved: it is deleted.
        TaskPurged: its documents are purged.
        NothingToPublish: it was not withheld, or has no documents.
    """
    task = objects.get(tx, TASKS, fid, lock=True)
    if task.removed_at is not None:
        raise TaskRemoved(f"task {fid} is deleted; restore it before you publish it")
    if task.reason is Reason.PUBLISHED_BY_USER:
        return task
    if not task.is_withheld:
        raise NothingToPublish(_why_nothing(task))
    # Locked against a concurrent purge of the withheld segments.
    objects.get(tx, STREAMS, task.stream, lock=True)
    kept = segments.held_by_attempt(tx, task)
    if not kept and (task.versions or task.mode is Mode.SNAPSHOT):
        raise TaskPurged(
            f"task {fid} failed a gate at {task.ended_at:%Y-%m-%d %H:%M} UTC and its documents are purged since; "
            "run it again"
        )
    if not _take_place(tx, task, withheld=[one for one in kept if one.removed_version is not None], at=at):
        raise NothingToPublish(
            f"task {fid} brought no documents, so that there is nothing to let into the stream; if the source is "
            "empty by right, loosen the gates of its crawler"
        )
    # Its diff changes, so it is computed again. The message keeps the failed gate.
    expectations.meet(tx, objects.get(tx, CRAWLERS, task.crawler), task, at=at)
    let_in = replace(task, reason=Reason.PUBLISHED_BY_USER, message=overruled(task.message), summary=None)
    return tasks.change(tx, task, let_in, at=at)


def _take_place(tx: Transaction, task: Task, *, withheld: Sequence[Segment] = (), at: datetime) -> bool:
    """Publish an attempt: pending and withheld segments become visible, segments of former attempts are removed.

    Return whether the stream changed.
    """
    rejects.forget_former(tx, task)
    waiting, former = segments.waiting(task), segments.shown(task.fid, but_attempt=task.attempt)
    coming, going = segments.docs_in(tx, waiting), segments.docs_in(tx, former)
    if coming is None and going is None and not withheld:
        return False
    docs = (coming or 0) + (going or 0) + sum(segment.docs for segment in withheld)
    version = streams.advance(tx, task, Change.PUBLISH if going is None else Change.REPLACE, docs=docs, at=at)
    segments.take_out(tx, former, version=version)
    segments.publish(tx, waiting, version=version)
    segments.put_back(tx, withheld, version=version, at=at)
    return True


def _withhold(tx: Transaction, task: Task, *, at: datetime) -> None:
    """Remove what an attempt has published so far; former attempts' segments stay, pending ones stay pending."""
    shown = segments.shown_by_attempt(task)
    docs = segments.docs_in(tx, shown)
    if docs is not None:
        version = streams.advance(tx, task, Change.WITHHOLD, docs=docs, at=at)
        segments.take_out(tx, shown, version=version)
        segments.withhold_floor(tx, task, version=version)


def _why_nothing(task: Task) -> str:
    if task.is_open:
        return f"task {task.fid} stands at {task.code} ({task.state}); its gates are looked at when it ends with 2xx"
    if task.reason is Reason.REPORTED and task.state is TaskState.DONE:
        return f"task {task.fid} passed its gates, and is published since it ended"
    return (
        f"task {task.fid} ended with {task.code} ({task.state}): only a task that ended with 2xx and failed a gate "
        "can be let in by hand; retry this one"
    )
