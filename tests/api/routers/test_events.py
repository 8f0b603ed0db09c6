import json
from datetime import timedelta

import pytest

from api.listening import Listening
from headwater.api.routers.events import COME_BACK
from headwater.domain.event import TYPES
from headwater.streams.retention import Retention


@pytest.fixture
def event_feed(api):
    return api.app.state.services.event_feed


async def _listed(api, **params) -> list[dict]:
    answer = await api.get("/events", params={"feed": "normal", "limit": 1000} | params)
    assert answer.status_code == 200, answer.text
    assert answer.json()["next_cursor"] is None
    return answer.json()["payload"]


def _blocks(text: str) -> list[dict[str, str]]:
    """The fields of each block of a stream of events."""
    return [
        dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        for block in text.split("\n\n")
        if block
    ]


async def _let_go(api, following: Listening):
    """End a stream of events, which lasts until then."""
    api.app.state.services.release_waiters()
    return await following.end()


async def test_what_happens_is_told_as_server_sent_events_from_now_on(api, made):
    await made.stream()
    following = Listening(api, "/events")
    await following.hears(f"retry: {COME_BACK}\nid: 1\n")
    crawler = await made.crawler()
    await following.hears("event: crawler.created\n")
    await following.hears(crawler["fid"])
    answer = await _let_go(api, following)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    first, *rest = _blocks(answer.text)
    assert first == {"retry": str(COME_BACK), "id": "1"}
    assert [block["event"] for block in rest] == ["external.created", "stream.created", "crawler.created"]
    for block in rest:
        event = json.loads(block["data"])
        assert (block["id"], block["event"]) == (str(event["id"]), event["type"])
    assert json.loads(rest[-1]["data"])["crawler"] == crawler["fid"]


@pytest.mark.parametrize(
    "how",
    [
        {"headers": {"Last-Event-ID": "2"}},
        {"params": {"last_event_id": 2}},
        # What was heard since counts: an event source that comes back sends its first URL again.
        {"headers": {"Last-Event-ID": "2"}, "params": {"last_event_id": 0}},
    ],
)
async def test_who_comes_back_is_told_what_happened_meanwhile(api, made, how):
    for _ in range(4):
        await made.stream()
    following = Listening(api, "/events", **how)
    await following.hears("id: 4\n")
    assert [block["id"] for block in _blocks((await _let_go(api, following)).text)] == ["2", "3", "4"]


async def test_a_place_is_told_at_the_start_so_that_nothing_is_missed_before_the_first_event(api, made):
    await made.stream()
    following = Listening(api, "/events", params={"type": "external"})
    await following.hears("\n\n")
    place = _blocks((await _let_go(api, following)).text)[0]["id"]
    await made.external()
    assert [event["type"] for event in await _listed(api, last_event_id=place)] == ["external.created"]


async def test_events_are_listed_as_they_came_and_asked_for_from_there_on(api, made):
    for _ in range(3):
        await made.stream()
    page = (await api.get("/events?feed=normal&limit=2")).json()
    assert [event["id"] for event in page["payload"]] == [1, 2]
    assert page["last_event_id"] == 2
    answer = await api.get("/events", params={"feed": "normal", "limit": 2, "cursor": page["next_cursor"]})
    assert ([event["id"] for event in answer.json()["payload"]], answer.json()["next_cursor"]) == ([3], None)
    assert "link" not in answer.headers
    assert await _listed(api, last_event_id=3) == []
    await made.stream()
    assert [event["id"] for event in await _listed(api, last_event_id=3)] == [4]


async def test_events_are_chosen_by_what_they_are_about(api, made):
    one, other = await made.crawler(), await made.crawler()
    task = await made.done(one, b'{"id": "a"}\n')
    await made.done(other, b'{"id": "a"}\n')
    moved = await api.post(f"/actions/streams/{one['stream']}/revert", json={"tasks": [task["fid"]]})
    assert moved.status_code == 200
    of_task = await _listed(api, task=task["fid"])
    assert [event["type"] for event in of_task] == [
        *("task.created", "task.running", "stream.changed", "task.done", "stream.changed", "task.deleted")
    ]
    # A change that several tasks make together tells of each.
    assert of_task[4]["data"]["tasks"] == [task["fid"]]
    assert of_task[4]["crawler"] == one["fid"]
    assert [event["type"] for event in await _listed(api, stream=other["stream"], type="stream")] == [
        *("stream.created", "stream.changed")
    ]
    of_crawler = await _listed(api, crawler=one["fid"], type=["task.done", "crawler.*"])
    assert [event["type"] for event in of_crawler] == ["crawler.created", "task.done"]


async def test_events_are_chosen_by_when_they_were(api, made):
    await made.stream()
    (event,) = await _listed(api, since="2026-01-01T00:00:00Z")
    after = api.app.state.services.clock() + timedelta(minutes=1)
    assert await _listed(api, since=after.isoformat()) == []
    assert await _listed(api, since=event["at"]) == [event]


async def test_a_read_key_suffices_and_none_does_not(api):
    assert (await api.get("/events?feed=normal", headers={"Authorization": ""})).status_code == 401


@pytest.mark.parametrize(
    ("params", "headers", "pointer"),
    [
        ({"type": "task.don"}, {}, "?type"),
        ({"type": "document"}, {}, "?type"),
        ({"last_event_id": 7}, {}, "?last_event_id"),
        ({}, {"Last-Event-ID": "7"}, "Last-Event-ID"),
        ({"limit": 3}, {}, "?limit"),
        ({"cursor": "MQ"}, {}, "?cursor"),
        ({"since": "2026-01-01T00:00:00"}, {}, "?since"),
        ({"feed": "longpoll"}, {}, "?feed"),
        ({"kind": "task"}, {}, "?kind"),
    ],
)
async def test_what_means_nothing_is_refused_with_its_place(api, assert_problem, params, headers, pointer):
    answer = await api.get("/events", params=params, headers=headers)
    assert assert_problem(answer, 400, "request-invalid")["errors"][0]["pointer"] == pointer


async def test_a_last_event_id_that_is_no_number_is_refused(api, assert_problem):
    assert_problem(await api.get("/events", headers={"Last-Event-ID": "seven"}), 400, "request-invalid")


async def test_who_was_away_for_too_long_is_told_so(api, made, assert_problem):
    for _ in range(4):
        await made.stream()
    later = api.app.state.services.clock() + timedelta(days=1)
    parts = api.app.state.services
    retention = Retention(parts.db, parts.store, keep=timedelta(days=30), clock=parts.clock)
    assert await retention.forget_events(before=later) == 3
    for headers, params in (({"Last-Event-ID": "2"}, {}), ({}, {"last_event_id": "1", "feed": "normal"})):
        problem = assert_problem(await api.get("/events", headers=headers, params=params), 400, "event-forgotten")
        assert "the oldest one that is kept is 4" in problem["detail"]
    # Who had heard the last one that is gone has missed nothing.
    assert [event["id"] for event in await _listed(api, last_event_id=3)] == [4]
    assert [event["id"] for event in await _listed(api, last_event_id=0)] == [4]


async def test_every_type_that_is_told_can_be_asked_for(api):
    for type_ in sorted(TYPES):
        assert await _listed(api, type=type_) == []
