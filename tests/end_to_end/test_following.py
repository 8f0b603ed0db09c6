"""Followers of a served Headwater: they hear of every change, whatever connection it comes over."""

import json
import threading
from collections.abc import Iterator

import httpx
import pytest

from .conftest import a_crawler, admin_key, made, wait_for


class Follower(threading.Thread):
    """Applies server-sent events to a dictionary, as an event source does."""

    def __init__(self, url: str, key: str, stream: str) -> None:
        super().__init__(daemon=True)
        self.address = f"{url}/streams/{stream}/changes?feed=eventsource"
        self.headers = {"Authorization": f"Bearer {key}"}
        self.held: dict[str, dict] = {}
        self.version: str | None = None
        self.ended = False

    def run(self) -> None:
        headers = self.headers | ({} if self.version is None else {"Last-Event-ID": self.version})
        with httpx.stream("GET", self.address, headers=headers, timeout=60) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for event in _events(answer.iter_lines()):
                self._apply(event)
        self.ended = True

    def _apply(self, event: dict[str, str]) -> None:
        told = json.loads(event["data"])
        match told.get("op"):
            case "upsert":
                self.held[told["id"]] = told["doc"]
            case "delete":
                del self.held[told["id"]]
            case _:
                assert told == {"last_version": int(event["id"])}
                self.version = event["id"]


def _events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in lines:
        if not line and event:
            yield event
            event = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


def _run(client, crawler: dict, docs: list[dict]) -> dict:
    task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
    body = "".join(json.dumps(doc) + "\n" for doc in docs)
    assert client.post(f"/actions/tasks/{task['fid']}/upload", content=body).is_success
    assert client.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200}).is_success
    return task


def _shown(client, crawler: dict) -> dict[str, dict]:
    return {doc["id"]: doc["doc"] for doc in client.get(f"/streams/{crawler['stream']}/docs").json()["payload"]}


def test_a_follower_holds_what_the_stream_shows_over_restarts_of_the_server(serve):
    served = serve()
    with served.client() as client:
        crawler = a_crawler(client)
        first = _run(client, crawler, [{"id": "a", "v": 1}, {"id": "b", "v": 1}])
        change_feed = Follower(served.url, served.key(), crawler["stream"])
        change_feed.start()
        wait_for(lambda: change_feed.version == "1")
        _run(client, crawler, [{"id": "b", "v": 2}, {"id": "c", "v": 2}])
        client.delete(f"/actions/tasks/{first['fid']}")
        wait_for(lambda: change_feed.version == "3")
        assert change_feed.held == _shown(client, crawler) == {"b": {"id": "b", "v": 2}, "c": {"id": "c", "v": 2}}
    served.stop()
    wait_for(lambda: change_feed.ended)  # let go, so that the server stops at once
    served.start()
    with served.client() as client:
        _run(client, crawler, [{"id": "d", "v": 3}])
        again = Follower(served.url, served.key(), crawler["stream"])
        again.held, again.version = change_feed.held, change_feed.version
        again.start()
        wait_for(lambda: again.version == "4")
        assert again.held == _shown(client, crawler)


def test_a_follower_hears_of_what_another_process_changes(serve, postgres_url):
    environment = {"HEADWATER_DATABASE_URL": postgres_url, "HEADWATER_SECRET_KEY": "s" * 40}
    one, other = serve("data", **environment), serve("data", **environment)
    key = admin_key(postgres_url)
    with one.client(key) as client:
        crawler = a_crawler(client)
        change_feed = Follower(other.url, key, crawler["stream"])
        change_feed.start()
        wait_for(lambda: change_feed.version == "0")
        _run(client, crawler, [{"id": "a"}])
        wait_for(lambda: change_feed.held == {"a": {"id": "a"}})


@pytest.mark.parametrize("feed", ["longpoll", "eventsource"])
def test_a_server_with_followers_stops_at_once(serve, feed):
    served = serve()
    with served.client() as client:
        crawler = a_crawler(client)
        address = f"{served.url}/streams/{crawler['stream']}/changes?feed={feed}"
        headers = {"Authorization": f"Bearer {served.key()}", "Prefer": "wait=60"}
        waiting = threading.Thread(target=httpx.get, args=(address,), kwargs={"headers": headers, "timeout": 70})
        waiting.start()
        threading.Event().wait(0.5)
        served.process.terminate()
        served.process.wait(20)
        waiting.join(20)
        assert not waiting.is_alive()
