from datetime import UTC, datetime

import pytest

from headwater.domain.event import Event
from headwater.domain.notification import (
    BACKOFF,
    Conditions,
    Group,
    News,
    Notification,
    failed_conditions,
    news_of,
    pause_after,
    sentence,
)

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _event(kind: str, **data) -> Event:
    return Event(at=AT, type=kind, stream="s", crawler="c", task="t", data=data)


def _notification(**fields) -> Notification:
    base = {"fid": "n", "sealed_url": "", "shown_url": "", "place": 0, "created_at": AT, "updated_at": AT}
    return Notification(**{**base, "version": 1, "meta": {}, **fields})


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            _event("task.failed", code=503, docs=1200, message="the shop\nis closed"),
            "a run failed with 503, after 1,200 documents: the shop is closed",
        ),
        (_event("task.timed_out", code=408, docs=1, message=None), "a run timed out, after 1 document"),
        (
            _event("crawler.missed", expected_at="2026-03-01T03:00:00Z"),
            "no run ended well that was expected at 2026-03-01 03:00 UTC",
        ),
        (
            _event("crawler.recovered", missed_since="2026-03-01T03:00:00Z"),
            "a run ended well again; missed since 2026-03-01 03:00 UTC",
        ),
        (
            _event("crawler.recovered", failed=3, failed_since="2026-03-01T03:00:00Z"),
            "a run ended well again; 3 runs before it did not, since 2026-03-01 03:00 UTC",
        ),
        (_event("segment.damaged", path="a/b.parquet"), "stored documents are damaged, in a/b.parquet"),
        (_event("external.published"), "external published"),
    ],
)
def test_what_happened_is_told_in_plain_words(event, text):
    assert sentence(event) == text


def test_a_long_message_is_quoted_in_part():
    text = sentence(_event("task.failed", code=500, docs=0, message="x" * 1000))
    assert len(text) < 400
    assert text.endswith("…")


def test_news_are_grouped_by_kind_and_the_first_ones_are_told():
    group = Group()
    for number in range(10_000):
        group = group.plus(News(kind="task.failed" if number else "crawler.missed", text=f"line {number}"))
    assert group.title == "Headwater: 1 missed, 9,999 failed"
    lines = group.body.splitlines()
    assert (len(lines), lines[0], lines[-1]) == (11, "line 0", "… and 9,990 more")


def test_of_several_missed_runs_the_first_is_told():
    first = _event("crawler.missed", expected_at="2026-03-01T03:00:00Z", missed_since="2026-03-01T03:00:00Z")
    later = _event("crawler.missed", expected_at="2026-03-02T03:00:00Z", missed_since="2026-03-01T03:00:00Z")
    (news,) = news_of(first, _notification(), crawler="Books", link="http://hw/x")
    assert news.text == "Books: no run ended well that was expected at 2026-03-01 03:00 UTC http://hw/x"
    assert news_of(later, _notification(), crawler="Books", link="") == []


def test_other_events_are_no_news():
    assert news_of(_event("task.done"), _notification(), crawler="Books", link="") == []
    assert news_of(_event("task.failed"), _notification(events=("task.done",)), crawler="Books", link="") == []


@pytest.mark.parametrize(
    ("fields", "is_about"),
    [({}, True), ({"streams": ("s", "x")}, True), ({"streams": ("x",)}, False), ({"crawlers": ("x",)}, False)],
)
def test_a_notification_is_about_its_streams_and_crawlers(fields, is_about):
    assert _notification(**fields).is_about(_event("task.failed")) == is_about


@pytest.mark.parametrize(
    ("conditions", "docs", "rejected", "before", "texts"),
    [
        (Conditions(max_rejected=0.05), 90, 10, [], ["Books: 10 of 100 lines were rejected (10.0%) link"]),
        (Conditions(max_rejected=0.1), 90, 10, [], []),
        (Conditions(max_rejected=0.0), 0, 0, [], []),
        (Conditions(max_shrink=0.3), 60, 0, [100, 90, 500], ["Books: 60 documents, 40% fewer than usual (100) link"]),
        (Conditions(max_shrink=0.4), 60, 0, [100, 90, 500], []),
        (Conditions(max_shrink=0.1), 60, 0, [], []),
        (Conditions(), 0, 100, [100], []),
    ],
)
def test_a_run_that_ended_well_is_news_by_its_numbers(conditions, docs, rejected, before, texts):
    event = _event("task.done", docs=docs, rejected=rejected)
    found = failed_conditions(event, conditions, before=before, crawler="Books", link="link")
    assert [news.text for news in found] == texts


def test_a_message_is_given_up_after_some_hours():
    pauses = [pause_after(tries) for tries in range(1, len(BACKOFF) + 2)]
    assert None not in pauses[:-1]
    assert pauses[-1] is None
