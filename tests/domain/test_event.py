from dataclasses import replace
from datetime import timedelta

import pytest

from builders import AT, a_crawler, a_stream, a_task, a_webhook, an_external
from headwater.domain.event import creation, deletion, edit, publication, stream_event
from headwater.domain.stream import Change, LogEntry
from headwater.domain.task import Reason, TaskState

LATER = AT + timedelta(minutes=5)


def _task(**more):
    return a_task(a_crawler(a_stream(), an_external()), **more)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"state": TaskState.RUNNING, "code": 102, "heard_at": LATER}, "running"),
        ({"heard_at": LATER, "message": "half"}, "reported"),
        ({"state": TaskState.DONE, "code": 200, "reason": Reason.REPORTED}, "done"),
        ({"state": TaskState.DONE, "code": 200, "reason": Reason.GATE_FAILED}, "withheld"),
        ({"state": TaskState.DONE, "code": 200, "reason": Reason.PUBLISHED_BY_USER}, "published"),
        ({"state": TaskState.FAILED, "code": 500, "reason": Reason.REPORTED}, "failed"),
        ({"state": TaskState.TIMED_OUT, "code": 408, "reason": Reason.SILENT}, "timed_out"),
        ({"state": TaskState.STOPPED, "code": 410, "reason": Reason.STOPPED_BY_USER}, "stopped"),
        ({"attempt": 2}, "retried"),
        ({"removed_at": LATER}, "deleted"),
        ({"meta": {"name": "nightly"}}, "updated"),
    ],
)
def test_what_became_of_a_task_is_told_in_a_word(change, word):
    task = _task()
    told = edit("task", task, replace(task, updated_at=LATER, **change))
    assert (told.type, told.task, told.stream, told.crawler, told.at) == (
        f"task.{word}",
        task.fid,
        task.stream,
        task.crawler,
        LATER,
    )


def test_a_task_that_came_back_is_told_as_restored():
    task = _task(removed_at=AT)
    assert edit("task", task, replace(task, removed_at=None)).type == "task.restored"


def test_a_task_that_goes_with_its_crawler_is_told_as_purged_since_deleted_ones_can_come_back():
    assert deletion("task", _task(), at=LATER).type == "task.purged"


def test_an_event_tells_what_its_object_belongs_to():
    crawler = a_crawler(a_stream(), an_external())
    told = creation("crawler", crawler)
    assert (told.type, told.crawler, told.stream, told.external) == (
        "crawler.created",
        crawler.fid,
        crawler.stream,
        crawler.external,
    )


def test_publishing_a_version_tells_which():
    told = publication(an_external(), 3, at=LATER)
    assert (told.type, told.data["published"]) == ("external.published", 3)


def test_a_stream_tells_its_version_and_what_made_it():
    entry = LogEntry(stream="s", version=7, at=AT, change=Change.REMOVE, tasks=["a", "b"], docs=9)
    told = stream_event(entry)
    assert (told.type, told.stream) == ("stream.changed", "s")
    assert told.data == {"stream_version": 7, "change": "remove", "attempt": None, "docs": 9, "tasks": ["a", "b"]}


def test_what_no_column_is_for_is_told_with_the_rest():
    webhook = a_webhook(meta={"name": "Chat"})
    told = creation("webhook", webhook)
    assert (told.type, told.stream, told.task) == ("webhook.created", None, None)
    assert told.data == {"webhook": webhook.fid, "version": 1, "name": "Chat"}
    about = creation("webhook", a_webhook(stream="5" * 32, crawler="c" * 32))
    assert (about.stream, about.crawler) == ("5" * 32, "c" * 32)
