"""Several workers of one server: each answers, the work beside is done once, and one that dies is replaced."""

import json
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from uuid import uuid4

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from end_to_end.conftest import Served, a_crawler, admin_key, made, wait_for
from end_to_end.crawler_server import CrawlerServer


class Fleet:
    """A served Headwater of two workers, and a client whose connection leads to each."""

    def __init__(self, served: Served, key: str) -> None:
        self.served = served
        self.key = key
        self._clients = ExitStack()

    def lines(self, event: str) -> list[dict]:
        """What the log has of an event."""
        written = [line for line in self.served.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, written) if line["event"] == event]

    def pids(self) -> dict[int, int]:
        """The processes of the present workers."""
        return {line["worker"]: line["pid"] for line in self.lines("worker.started")}

    def answered(self, request: str) -> int:
        """Return which worker answered a request."""
        return wait_for(lambda: [line for line in self.lines("http.answered") if line["request"] == request])[0][
            "worker"
        ]

    def clients(self) -> list[httpx.Client]:
        """Return a client for each worker: connections are made until each has got one."""
        found: dict[int, httpx.Client] = {}
        while len(found) < 2:
            client = self._clients.enter_context(self.served.client(self.key))
            request = uuid4().hex
            with suppress(httpx.TransportError):  # its worker was killed at this moment
                client.get("/healthz", headers={"X-Request-Id": request}).raise_for_status()
                found.setdefault(self.answered(request), client)
        return [found[0], found[1]]

    def close(self) -> None:
        self._clients.close()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Two workers on a SQLite, which survive the test."""
    served = Served(tmp_path_factory.mktemp("fleet") / "data", arguments=("--workers", "2"))
    served.start()
    fleet = Fleet(served, served.key())
    yield fleet
    fleet.close()
    served.stop()


@pytest.fixture
def doomed(serve):
    """Two workers on a SQLite that a test may kill."""
    served = serve(arguments=("--workers", "2"))
    fleet = Fleet(served, served.key())
    yield fleet
    fleet.close()


@pytest.fixture
def ec():
    server = CrawlerServer()
    server.on_start = lambda _task: (200, {"success": True, "payload": {"status": {"code": 102}}})
    yield server
    server.close()


def _state(client, task) -> str:
    return client.get(f"/tasks/{task['fid']}").json()["payload"]["state"]


def _started(client: httpx.Client, ec: CrawlerServer) -> None:
    """Start a task at one worker; whichever has to tells the EC."""
    crawler = a_crawler(client, external={"endpoint": ec.url})
    task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
    wait_for(lambda: client.get(f"/tasks/{task['fid']}").json()["payload"]["state"] == "running")


def _heard_within(writer: httpx.Client, reader: httpx.Client) -> float:
    """Return after how many seconds, at best, a long poll at one worker tells of an upload at another."""
    crawler = a_crawler(writer)
    task = made(writer, f"/actions/crawlers/{crawler['fid']}/task")
    took = []
    with ThreadPoolExecutor(1) as threads:
        for version in range(5):
            address = f"/streams/{crawler['stream']}/changes?feed=longpoll&since={version}"
            following = threads.submit(reader.get, address)
            time.sleep(0.1)  # it has looked, and would look again 1 s later if nobody woke it
            began = time.monotonic()
            assert writer.post(f"/actions/tasks/{task['fid']}/upload", content=b'{"id": "a"}\n').is_success
            assert following.result().is_success
            took.append(time.monotonic() - began)
    return min(took)


def test_each_worker_answers_and_a_task_is_started_once(fleet, ec):
    for client in fleet.clients():
        assert client.get("/readyz").json()["payload"] == {
            "database": True,
            "store": True,
            "engine": True,
            "damaged_segments": 0,
        }
        _started(client, ec)
    assert len(ec.starts) == 2
    assert [line["worker"] for line in fleet.lines("task.started")] == [0, 0]


def test_connections_are_given_to_the_workers_in_turn(fleet):
    with ExitStack() as stack:
        requests = [uuid4().hex for _ in range(10)]
        for request in requests:
            client = stack.enter_context(fleet.served.client(fleet.key))
            client.get("/healthz", headers={"X-Request-Id": request}).raise_for_status()
        answered = [fleet.answered(request) for request in requests]
    assert answered in ([0, 1] * 5, [1, 0] * 5)


def test_the_first_key_is_made_and_told_once(fleet):
    fleet.clients()
    assert fleet.served.log.read_text().count("The admin key") == 1


def test_an_upload_at_one_worker_wakes_a_follower_at_the_other(fleet):
    one, other = fleet.clients()
    assert _heard_within(one, other) < 0.5
    assert _heard_within(other, one) < 0.5


def test_an_idempotency_key_that_comes_to_both_at_once_is_taken_once(fleet):
    clients = fleet.clients()
    crawler = a_crawler(clients[0])
    task = made(clients[0], f"/actions/crawlers/{crawler['fid']}/task")
    together = threading.Barrier(2)

    def upload(client, key):
        together.wait()
        headers = {"Idempotency-Key": key}
        return client.post(f"/actions/tasks/{task['fid']}/upload", content=b'{"id": "a"}\n' * 50, headers=headers)

    with ThreadPoolExecutor(2) as threads:
        for number in range(10):
            answers = list(threads.map(upload, clients, [str(number)] * 2))
            assert [answer.status_code for answer in answers] == [200, 200]
            assert answers[0].json() == answers[1].json()
            assert answers[0].json()["payload"]["total"] == 50 * (number + 1)
            assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 1


def test_workers_on_postgresql_do_so_too(serve, ec, postgres_url):
    environment = {"HEADWATER_DATABASE_URL": postgres_url, "HEADWATER_SECRET_KEY": "s" * 40}
    fleet = Fleet(serve(HEADWATER_WORKERS="2", **environment), admin_key(postgres_url))
    one, other = fleet.clients()
    _started(other, ec)
    assert len(ec.starts) == 1
    assert _heard_within(one, other) < 0.5
    fleet.close()


def test_a_worker_that_is_killed_is_replaced_and_the_other_goes_on(doomed, ec):
    for number in (0, 1):
        other = doomed.clients()[1 - number]
        killed = doomed.pids()[number]
        os.kill(killed, signal.SIGKILL)
        assert other.get("/healthz").is_success
        wait_for(lambda number=number, killed=killed: doomed.pids()[number] != killed)
        ended = doomed.lines("worker.ended")[-1]
        assert (ended["worker"], ended["pid"], ended["status"]) == (number, killed, -signal.SIGKILL)
        for client in doomed.clients():
            _started(client, ec)
    assert len(doomed.lines("worker.ended")) == 2


def _as_an_operator(supervisor: psutil.Process) -> None:
    supervisor.terminate()


def _as_a_terminal(supervisor: psutil.Process) -> None:
    """Ctrl-C is told to all."""
    for process in (supervisor, *supervisor.children()):
        process.send_signal(signal.SIGINT)


def _as_a_terminal_that_is_slow(supervisor: psutil.Process) -> None:
    """The supervisor tells the workers before Ctrl-C reaches them."""
    workers = supervisor.children()
    supervisor.send_signal(signal.SIGINT)
    time.sleep(1)
    for process in workers:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("stop", [_as_an_operator, _as_a_terminal, _as_a_terminal_that_is_slow])
def test_told_to_stop_all_finish_what_they_do_and_the_status_is_0(doomed, stop):
    clients = doomed.clients()
    crawler = a_crawler(clients[0])
    task = made(clients[0], f"/actions/crawlers/{crawler['fid']}/task")
    supervisor = psutil.Process(doomed.served.process.pid)
    processes = supervisor.children(recursive=True)
    half_sent, stopping = threading.Event(), threading.Event()

    def body():
        yield b'{"id": "a"}\n'
        half_sent.set()
        stopping.wait(30)
        yield b'{"id": "b"}\n'

    with ThreadPoolExecutor(2) as threads:
        uploading = threads.submit(clients[0].post, f"/actions/tasks/{task['fid']}/upload", content=body())
        following = threads.submit(clients[1].get, f"/streams/{crawler['stream']}/changes?feed=longpoll")
        half_sent.wait(30)
        time.sleep(0.5)  # so that both have come to their worker
        stop(supervisor)
        assert following.result(20).is_success  # let go long before its 30 s are over
        stopping.set()
        assert uploading.result(20).json()["payload"]["count"] == 2
    assert doomed.served.process.wait(20) == 0
    assert psutil.wait_procs(processes, timeout=10)[1] == []
    assert doomed.lines("worker.ended") == []


def test_workers_whose_supervisor_is_killed_end_and_leave_the_port(doomed):
    workers = [psutil.Process(pid) for pid in doomed.pids().values()]
    doomed.clients()
    doomed.served.kill()
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    doomed.served.start()
    assert doomed.clients()[0].get("/streams").is_success


def test_a_worker_that_cannot_be_started_ends_all_and_says_why(doomed):
    doomed.clients()  # both are there
    database = sqlite3.connect(doomed.served.data / "catalog.sqlite")
    with database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    os.kill(doomed.pids()[1], signal.SIGKILL)
    assert doomed.served.process.wait(30) == 1
    told = [line for line in doomed.served.log.read_text().splitlines() if line.startswith("headwater:")]
    assert len(told) == 1
    assert "made by a newer Headwater" in told[0]


def _samples(client: httpx.Client) -> list[Sample]:
    """What a worker tells Prometheus."""
    text = client.get("/metrics").raise_for_status().text
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def _scraped(client: httpx.Client) -> Counter[str]:
    """What it tells of all crawlers together."""
    found: Counter[str] = Counter()
    for sample in _samples(client):
        labels = {name: value for name, value in sample.labels.items() if name not in {"crawler", "stream"}}
        if labels in ({}, {"outcome": "accepted"}):
            found[sample.name] += sample.value
    return found


def test_each_worker_tells_prometheus_of_all_also_of_one_that_was_killed(doomed):
    first, second = doomed.clients()
    crawler = a_crawler(first)
    task = made(first, f"/actions/crawlers/{crawler['fid']}/task")
    for client in (first, second, second):
        client.post(f"/actions/tasks/{task['fid']}/upload", content=b'{"id": "a"}\n').raise_for_status()
    for told in (_scraped(first), _scraped(second)):
        assert (told["headwater_uploads_total"], told["headwater_upload_documents_total"]) == (3, 3)
        assert (told["headwater_streams"], told["headwater_crawlers"]) == (1, 1)
        assert told["headwater_engine_memory_bytes"] >= 0
    gone = doomed.pids()[1]
    os.kill(gone, signal.SIGKILL)
    wait_for(lambda: doomed.pids()[1] != gone)
    first, second = doomed.clients()
    for client in (first, second):
        assert _scraped(client)["headwater_uploads_total"] == 3

    def is_named() -> bool:
        second.post(f"/actions/tasks/{task['fid']}/upload", content=b'{"id": "a"}\n').raise_for_status()
        return any(sample.labels.get("crawler", "other") != "other" for sample in _samples(first))

    # The new worker learns the names when it starts.
    wait_for(is_named)


def test_workers_count_the_requests_of_a_key_together(serve):
    served = serve(arguments=("--workers", "2"), HEADWATER_REQUESTS_PER_MINUTE="20")
    fleet = Fleet(served, served.key())
    clients = fleet.clients()
    answers = [clients[number % 2].get("/streams").status_code for number in range(40)]
    # A minute's requests, and one more each 3 s that this takes.
    assert 20 <= answers.count(200) <= 30
    assert set(answers) == {200, 429}
    fleet.close()
