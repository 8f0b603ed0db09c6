from datetime import timedelta

from builders import AT
from headwater.catalog.runs import RunGroup
from headwater.console.timeline import MOST_LANES, MOST_MARKS, lanes_of

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def a_group(crawler: str, minutes: int, *, kind: str = "done", lasts: int | None = 5, runs: int = 1) -> RunGroup:
    began = AT - DAY + minutes * MINUTE
    return RunGroup(
        crawler=crawler,
        kind=kind,
        runs=runs,
        fid=f"{crawler}{minutes}",
        began_at=began,
        ended_at=None if lasts is None else began + lasts * MINUTE,
        docs=10,
        added=0,
        changed=0,
        removed=0,
    )


def test_each_crawler_has_a_lane_and_each_run_a_mark_that_leads_to_it():
    recent = [a_group("b", 0), a_group("a", 60, kind="failed"), a_group("b", 90, kind="running", lasts=None)]
    first, second = lanes_of(recent, {"a": "Alpha", "b": "beta"}, AT)
    assert [(lane.name, lane.href) for lane in (first, second)] == [
        ("Alpha", "/console/crawlers/a"),
        ("beta", "/console/crawlers/b"),
    ]
    (mark,) = first.marks
    assert (mark.state, mark.href) == ("failed", "/console/runs/a60")
    assert mark.title == f"failed, {mark.began_at:%H:%M} UTC, 10 documents"
    # One that is open lasts until now, and is drawn over those that have ended well.
    assert [(mark.state, mark.ended_at) for mark in second.marks] == [("done", AT - DAY + 5 * MINUTE), ("running", AT)]


def test_runs_of_a_kind_that_are_close_are_one_mark_that_leads_to_all_of_them():
    recent = [a_group("a", 0), a_group("a", 6, kind="failed"), a_group("a", 11, runs=3), a_group("a", 60)]
    (lane,) = lanes_of(recent, {"a": "Alpha"}, AT)
    joined, alone, failed = lane.marks
    assert joined.title.startswith("done, 4 runs from")
    assert "20 documents" in joined.title
    assert joined.href == "/console/runs?crawler=a&state=done"
    assert (alone.href, failed.state) == ("/console/runs/a60", "failed")


def test_a_timeline_of_many_runs_has_few_marks_and_keeps_those_that_failed():
    crawlers = [f"{number:03}" for number in range(90)]
    recent = [a_group(crawler, minutes) for crawler in crawlers for minutes in range(0, 1400, 20)]
    recent += [a_group("089", minutes, kind="failed") for minutes in (700, 710)]
    lanes = lanes_of(recent, {crawler: f"Shop {crawler}" for crawler in crawlers}, AT)
    assert len(lanes) == MOST_LANES
    assert sum(len(lane.marks) for lane in lanes) <= MOST_MARKS
    # The crawler that failed has a lane of its own, the last names share one.
    assert [lane.name for lane in lanes[-2:]] == ["Shop 089", "61 more crawlers"]
    assert [mark.state for mark in lanes[-2].marks] == ["done", "failed"]
    assert "4,270 runs" in lanes[-1].marks[0].title
