"""Every change is told once and in order, whatever is killed, and whoever of several processes made it."""

import contextlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable

import httpx
import psutil
import pytest

from headwater_client import Headwater

from .conftest import Served, a_crawler, admin_key, made, wait_for

ROUNDS = 4
WRITERS = 3
END = "the end"


class Writer(threading.Thread):
    """Uploads to a task and reports on it, through kills, and keeps book of what it was told."""

    def __init__(self, urls: list[str], key: str, crawler: dict) -> None:
        super().__init__(daemon=True)
        self._urls = urls
        self._key = key
        self.stream = crawler["stream"]
        self._stopped = threading.Event()
        with httpx.Client(base_url=urls[0], headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
            self.task = made(client, f"/actions/crawlers/{crawler['fid']}/task")["fid"]
        self.uploaded = 0
        self.reported: list[str] = []
        self.in_doubt: set[str] = set()

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        for number in range(100_000):
            if self._stopped.is_set():
                return
            path = f"{self._urls[number % len(self._urls)]}/actions/tasks/{self.task}"
            said = f"number {number}"
            try:
                answer = httpx.post(f"{path}/upload", content=b'{"id": "%d"}\n' % number, headers=headers, timeout=30)
                assert answer.status_code == 200, answer.text
                self.uploaded += 1
                self.in_doubt.add(said)
                answer = httpx.post(f"{path}/status", json={"code": 102, "message": said}, headers=headers, timeout=30)
                assert answer.status_code == 200, answer.text
                self.in_doubt.discard(said)
                self.reported.append(said)
            except httpx.TransportError:
                self._stopped.wait(0.05)

    def stop(self) -> None:
        self._stopped.set()
        self.join(40)


class Listener(threading.Thread):
    """Follows everything by the client until the end is told."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(daemon=True)
        # The server is away more than it is there, and a pause may be 30 seconds long.
        self._headwater = Headwater(url, key, retry_for=900)
        self.events: list = []

    def run(self) -> None:
        for event in self._headwater.events(last_event_id=0):
            self.events.append(event)
            if event.data.get("name") == END:
                return


def _kill_the_server(served: list[Served], _rng: random.Random) -> None:
    served[0].kill()
    served[0].start()


def _kill_a_worker(served: list[Served], rng: random.Random) -> None:
    workers = []
    for child in psutil.Process(served[0].process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # one that was killed before and has just ended
            workers += [child] if "spawn_main" in " ".join(child.cmdline()) else []
    rng.choice(workers).kill()


def _kill_another_server(served: list[Served], _rng: random.Random) -> None:
    served[1].kill()
    served[1].start()


@pytest.mark.parametrize("kind", ["one process", "workers", "two servers"])
def test_every_acknowledged_change_is_told_once_and_in_order_through_kills(serve, request, kind):
    kill: Callable[[list[Served], random.Random], None]
    match kind:
        case "one process":
            served, kill = [serve()], _kill_the_server
        case "workers":
            served, kill = [serve(arguments=("--workers", "2"))], _kill_a_worker
        case _:
            url = request.getfixturevalue("postgres_url")
            environment = {"HEADWATER_DATABASE_URL": url, "HEADWATER_SECRET_KEY": "s" * 40}
            served, kill = [serve(**environment), serve(**environment)], _kill_another_server
    key = admin_key(url) if kind == "two servers" else served[0].key()
    urls = [each.url for each in served]
    rng = random.Random(7)
    with served[0].client(key) as client:
        crawlers = [a_crawler(client) for _ in range(WRITERS)]
        listeners = [Listener(url, key) for url in urls * 2]
        writers = [Writer(urls, key, crawler) for crawler in crawlers]
        for thread in (*listeners, *writers):
            thread.start()
        for _ in range(ROUNDS):
            before = sum(writer.uploaded for writer in writers)
            wait_for(lambda before=before: sum(writer.uploaded for writer in writers) > before + 5)
            threading.Event().wait(rng.uniform(0.1, 0.6))
            kill(served, rng)
        before = sum(writer.uploaded for writer in writers)
        wait_for(lambda: sum(writer.uploaded for writer in writers) > before + 5)
        for writer in writers:
            writer.stop()
        # A connection that a kill broke is not used again.
        with served[0].client(key) as fresh:
            made(fresh, "/streams", {"meta": {"name": END}})
            for listener in listeners:
                listener.join(120)
                assert not listener.is_alive()
                _check(fresh, listener.events, writers)


def _check(client: httpx.Client, events: list, writers: list[Writer]) -> None:
    ids = [event.id for event in events]
    assert ids == sorted(set(ids))
    for writer in writers:
        of_stream = [event for event in events if event.stream == writer.stream]
        changes = [event.data["stream_version"] for event in of_stream if event.type == "stream.changed"]
        newest = client.get(f"/streams/{writer.stream}").json()["payload"]["stream_version"]
        assert changes == list(range(1, newest + 1))
        assert newest >= writer.uploaded > 0
        of_task = [event for event in events if event.task == writer.task]
        moves = [event.type for event in of_task if event.type not in {"stream.changed", "task.reported"}]
        assert moves == ["task.created", "task.running"]
        told = Counter(event.data["message"] for event in of_task if event.type == "task.reported")
        assert set(told.values()) == {1}
        assert set(writer.reported) <= set(told) <= set(writer.reported) | writer.in_doubt
        numbers = [int(message.split()[1]) for message in told]
        assert numbers == sorted(numbers)


def test_a_server_with_listeners_stops_at_once(serve):
    served = serve()
    answers: list[str] = []

    def follow() -> None:
        headers = {"Authorization": f"Bearer {served.key()}"}
        answers.append(httpx.get(f"{served.url}/events", headers=headers, timeout=60).text)

    following = [threading.Thread(target=follow) for _ in range(5)]
    for each in following:
        each.start()
    threading.Event().wait(1)
    served.process.terminate()
    served.process.wait(20)
    for each in following:
        each.join(10)
    assert answers == ["retry: 1000\nid: 0\n\n"] * 5


def test_what_one_worker_makes_is_heard_at_once_by_who_listens_to_another(serve):
    served = serve(arguments=("--workers", "3"))
    heard: list[dict] = []
    headers = {"Authorization": f"Bearer {served.key()}"}

    def follow() -> None:
        with httpx.stream("GET", f"{served.url}/events", headers=headers, timeout=60) as answer:
            lines = (line for line in answer.iter_lines() if line.startswith("data: "))
            heard.extend(json.loads(line.removeprefix("data: ")) for line in lines)

    for _ in range(6):
        threading.Thread(target=follow, daemon=True).start()
    threading.Event().wait(2)
    with httpx.Client(base_url=served.url, headers=headers) as client:
        stream = made(client, "/streams")
        wait_for(lambda: len(heard) == 6, seconds=10)
    assert {event["stream"] for event in heard} == {stream["fid"]}
