"""Webhooks of a served Headwater: receivers that fail, hang, redirect and are gone, and ``kill -9`` at any moment."""

import random
import threading
import time
from collections import Counter, defaultdict

import httpx
import pytest

from end_to_end.conftest import a_crawler, made, wait_for
from end_to_end.receiver import Receiver
from headwater.lifecycle.webhooks.dispatcher import MOST_TO_ONE

SETTINGS = {
    "HEADWATER_WEBHOOK_PRIVATE_ADDRESSES": "true",
    "HEADWATER_WEBHOOK_TIMEOUT": "1",
    "HEADWATER_WEBHOOK_BACKOFF": "0.1,0.1,0.1,0.2,0.5,1,1,1,1",
}
ROUNDS = 4


@pytest.fixture
def receiver():
    started = Receiver()
    yield started
    started.shutdown()
    started.server_close()


def _deliveries(client: httpx.Client, webhook: dict, **params) -> list[dict]:
    found, params = [], {"limit": 1000, **params}
    while True:
        page = client.get(f"/webhooks/{webhook['fid']}/deliveries", params=params).json()
        found += page["payload"]
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]


def _settled(client: httpx.Client, webhook: dict) -> list[dict]:
    """All deliveries to a webhook, once there are some and none waits; otherwise nothing."""
    found = _deliveries(client, webhook)
    return found if found and not any(each["state"] == "pending" for each in found) else []


def _run(client: httpx.Client, crawler: dict) -> dict:
    task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
    client.post(f"/actions/tasks/{task['fid']}/upload", content=b'{"id": "a"}\n').raise_for_status()
    client.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200}).raise_for_status()
    return task


def test_receivers_that_fail_hang_redirect_and_are_gone_hold_up_no_other(serve, receiver):
    headwater = serve(**SETTINGS)
    hangs = threading.Event()
    receiver.answers = {
        "/fails": lambda _sent: 500,
        "/hangs": lambda _sent: hangs.wait(60) and 200,
        "/redirects": lambda _sent: 307,
        "/gone": lambda _sent: 410,
    }
    with headwater.client() as client:
        every, last = ["task.*"], ["task.done"]
        wanted = {"/good": every, "/hangs": every, "/gone": every, "/fails": last, "/redirects": last}
        webhooks = {path: receiver.webhook(client, path, types=types) for path, types in wanted.items()}
        task = _run(client, a_crawler(client))
        wait_for(lambda: len(receiver.received["/good"]) == 3)
        told = [(sent["type"], sent["data"]["task"]) for _, sent, _ in receiver.received["/good"]]
        assert told == [(f"task.{word}", task["fid"]) for word in ("created", "running", "done")]
        gone = wait_for(lambda: _disabled(client, webhooks["/gone"]))
        assert gone["disabled_reason"] == "its receiver answered 410 (Gone)"
        assert len(receiver.received["/gone"]) == 1
        # Of the one that hangs only the first of the task was tried, again and again.
        tried = wait_for(
            lambda: [each for each in _deliveries(client, webhooks["/hangs"]) if len(each["attempts"]) > 1]
        )
        assert [each["type"] for each in tried] == ["task.created"]
        assert {attempt["error"] for attempt in tried[0]["attempts"]} == {"no answer came within 1 seconds"}
        hangs.set()
        assert {each["state"] for each in wait_for(lambda: _settled(client, webhooks["/hangs"]))} == {"delivered"}
        for path, status in (("/fails", 500), ("/redirects", 307)):
            (failed,) = wait_for(lambda path=path: _settled(client, webhooks[path]), seconds=90)
            assert failed["state"] == "failed"
            assert [attempt["status"] for attempt in failed["attempts"]] == [status] * 10
        assert "/elsewhere" not in receiver.received


def _disabled(client: httpx.Client, webhook: dict) -> dict | None:
    found = client.get(f"/webhooks/{webhook['fid']}").json()["payload"]
    return None if found["enabled"] else found


def test_a_server_that_is_killed_while_it_sends_sends_the_same_again_and_what_was_noted_not(serve, receiver):
    headwater = serve(**SETTINGS)
    begun, goes_on = threading.Event(), threading.Event()

    def answer(sent: dict) -> int:
        if sent["type"] == "task.running" and not goes_on.is_set():
            begun.set()
            goes_on.wait(60)
        return 200

    receiver.answers = {"/hook": answer}
    with headwater.client() as client:
        webhook = receiver.webhook(client, "/hook", types=["task.*"])
        crawler = a_crawler(client)
        _run(client, crawler)
        assert begun.wait(30)
        headwater.kill()
        goes_on.set()
        headwater.start()
        delivered = wait_for(lambda: _settled(client, webhook), seconds=60)
    assert [each["state"] for each in delivered] == ["delivered"] * 3
    times = Counter(each["type"] for _, each, _ in receiver.received["/hook"])
    assert times == {"task.created": 1, "task.running": 2, "task.done": 1}
    by_type = {(sent["type"], fid) for fid, sent, _ in receiver.received["/hook"]}
    assert by_type == {(each["type"], each["id"]) for each in delivered}
    (running,) = [each for each in delivered if each["type"] == "task.running"]
    assert [attempt["number"] for attempt in running["attempts"]] == [2]  # of the first the server knows nothing


def test_every_change_is_told_once_and_in_order_per_task_whenever_the_server_is_killed(serve, receiver):
    rng = random.Random(7)
    headwater = serve(**SETTINGS)
    receiver.answers = {"/hook": lambda _sent: 503 if rng.random() < 0.1 else 200}
    acknowledged: dict[str, list[str]] = {}
    with headwater.client() as client:
        crawlers = [a_crawler(client) for _ in range(3)]
        webhook = receiver.webhook(client, "/hook", types=["task.*"])
        for _ in range(ROUNDS):
            _work_until_killed(headwater, crawlers, acknowledged, seconds=rng.uniform(0.3, 1.5))
            headwater.start()
            for task in _tasks(client):
                if task["state"] in {"new", "running"}:
                    client.post(f"/actions/tasks/{task['fid']}/stop").raise_for_status()
        stored = wait_for(lambda: _settled(client, webhook), seconds=90)
        tasks = _tasks(client)
    assert {each["state"] for each in stored} == {"delivered"}
    _assert_told_once(stored, tasks, acknowledged)
    _assert_arrived_in_order(stored, [(fid, status) for fid, _, status in receiver.received["/hook"]])


def _tasks(client: httpx.Client) -> list[dict]:
    return client.get("/tasks", params={"limit": 1000}).json()["payload"]


def _assert_told_once(stored: list[dict], tasks: list[dict], acknowledged: dict[str, list[str]]) -> None:
    """Every change that is in the catalog was told, those too of which the kill swallowed the answer."""
    events = [each["event"] for each in stored]
    assert len(events) == len(set(events))
    told = defaultdict(list)
    for each in sorted(stored, key=lambda each: each["event"]):
        told[each["payload"]["data"]["task"]].append(each["type"])
    assert set(told) == {task["fid"] for task in tasks}
    for task in tasks:
        words = [kind.removeprefix("task.") for kind in told[task["fid"]]]
        assert words == ["created", *(["running"] if task["docs"] else []), task["state"]]
        assert set(acknowledged.get(task["fid"], [])) <= set(told[task["fid"]])
    assert sum(map(len, acknowledged.values())) > 0


def _assert_arrived_in_order(stored: list[dict], received: list[tuple[str, int]]) -> None:
    """Each arrived, in order per task, and again at most what one process has under way when it is killed."""
    taken = [fid for fid, status in received if status == 200]
    place = {fid: number for number, fid in enumerate(dict.fromkeys(taken))}
    assert set(place) == {each["id"] for each in stored}
    arrived = defaultdict(list)
    for each in sorted(stored, key=lambda each: place[each["id"]]):
        arrived[each["payload"]["data"]["task"]].append(each["event"])
    assert [events for events in arrived.values() if events != sorted(events)] == []
    assert len(taken) - len(place) <= ROUNDS * MOST_TO_ONE


def _work_until_killed(headwater, crawlers: list[dict], acknowledged: dict[str, list[str]], *, seconds: float) -> None:
    threads = [
        threading.Thread(target=_work, args=(headwater, crawler, acknowledged), daemon=True) for crawler in crawlers
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    headwater.kill()
    for thread in threads:
        thread.join()


def _work(headwater, crawler: dict, acknowledged: dict[str, list[str]]) -> None:
    """Run a crawler again and again until the server is gone, and keep book of what it said."""
    with headwater.client() as client:
        try:
            while True:
                answer = client.post(f"/actions/crawlers/{crawler['fid']}/task")
                if answer.status_code != 201:
                    return
                fid = answer.json()["payload"]["fid"]
                acknowledged[fid] = ["task.created"]
                client.post(f"/actions/tasks/{fid}/upload", content=b'{"id": "a"}\n').raise_for_status()
                acknowledged[fid].append("task.running")
                client.post(f"/actions/tasks/{fid}/status", json={"code": 200}).raise_for_status()
                acknowledged[fid].append("task.done")
        except httpx.HTTPError:
            return
