"""Several processes, start-up, memory."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from end_to_end.conftest import Served, a_crawler, free_port, made


@pytest.fixture(params=["sqlite", "postgres"])
def pair(request, serve):
    """Two Headwaters on one catalog and one lake."""
    environment = {"HEADWATER_SHARED_DATA": "true"}
    if request.param == "postgres":
        environment = {
            "HEADWATER_DATABASE_URL": request.getfixturevalue("postgres_url"),
            "HEADWATER_SECRET_KEY": "one secret key for both processes, long",
        }
    return serve(**environment), serve(**environment)


def _key(served) -> str:
    command = [
        sys.executable,
        "-m",
        "headwater",
        "keys",
        "create",
        "test",
        "--scope",
        "admin",
        "--data",
        str(served.data),
    ]

    answer = subprocess.run(command, env=os.environ | served.environment, capture_output=True, text=True, check=True)
    return answer.stdout.strip()


def test_of_two_processes_that_start_one_crawler_at_once_one_answers_201_and_one_208(pair):
    key = _key(pair[0])
    clients = [served.client(key) for served in pair]
    crawler = a_crawler(clients[0])
    together = threading.Barrier(2)

    def start(client):
        together.wait()
        return client.post(f"/actions/crawlers/{crawler['fid']}/task")

    with ThreadPoolExecutor(2) as threads:
        for _ in range(10):
            answers = list(threads.map(start, clients))
            assert sorted(answer.status_code for answer in answers) == [201, 208]
            fids = {answer.json()["payload"]["fid"] for answer in answers}
            assert len(fids) == 1
            closed = clients[1].post(f"/actions/tasks/{fids.pop()}/status", json={"code": 200})
            assert closed.status_code == 200
    for client in clients:
        client.close()


def test_ten_uploads_at_once_through_two_processes_have_right_totals_and_versions(pair):
    key = _key(pair[0])
    clients = [served.client(key) for served in pair]
    crawler = a_crawler(clients[0])
    task = made(clients[0], f"/actions/crawlers/{crawler['fid']}/task")
    together = threading.Barrier(10)

    def upload(number):
        together.wait()
        body = "".join(json.dumps({"id": f"{number}-{line}"}) + "\n" for line in range(20)).encode()
        return clients[number % 2].post(f"/actions/tasks/{task['fid']}/upload", content=body).json()["payload"]

    with ThreadPoolExecutor(10) as threads:
        receipts = list(threads.map(upload, range(10)))
    assert sorted(receipt["total"] for receipt in receipts) == list(range(20, 220, 20))
    log = clients[1].get(f"/streams/{crawler['stream']}/log").json()["payload"]
    assert [entry["version"] for entry in log] == list(range(10, 0, -1))
    assert len(clients[0].get(f"/streams/{crawler['stream']}/export").text.splitlines()) == 200
    for client in clients:
        client.close()


def test_a_gibibyte_uploaded_gzipped_takes_little_memory(serve):
    headwater = serve()
    with headwater.client() as client:
        crawler = a_crawler(client)
        task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
        client.post(f"/actions/tasks/{task['fid']}/upload", content=b'{"id": "warm"}\n')
        before = headwater.memory()
        lines = [
            json.dumps({"id": f"%09d-{n}", "text": "lorem ipsum dolor sit amet " * 35}).encode() for n in range(64)
        ]
        block = b"\n".join(lines) + b"\n"
        blocks = (1 << 30) // len(block)
        peak = 0

        def body():
            nonlocal peak
            for number in range(blocks):
                peak = max(peak, headwater.memory())
                # A gzip member for each block: made quickly, and read as one stream.
                yield gzip.compress(block.replace(b"%09d", b"%09d" % number), 1)

        answer = client.post(
            f"/actions/tasks/{task['fid']}/upload", content=body(), headers={"Content-Encoding": "gzip"}, timeout=300
        )
        assert answer.json()["payload"]["count"] == 64 * blocks
        peak = max(peak, headwater.memory())
    assert peak - before < 200 << 20


def test_a_server_without_its_secret_key_or_migration_says_what_to_do(tmp_path, postgres_url):
    command = [sys.executable, "-m", "headwater", "serve", "--data", str(tmp_path / "d"), "--port", str(free_port())]
    environment = os.environ | {"HEADWATER_DATABASE_URL": postgres_url}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "HEADWATER_SECRET_KEY is not set" in answer.stderr


def test_a_crash_leaves_its_last_words_in_the_log(tmp_path):
    served = Served(tmp_path / "data", is_forked=False)
    served.start()
    served.process.send_signal(signal.SIGSEGV)
    assert served.process.wait(20) == -signal.SIGSEGV
    told = served.log.read_text()
    assert "Fatal Python error: Segmentation fault" in told
    # Other threads run on while they are looked at, so that what is told of them may break off anywhere.
    assert "(most recent call first):" in told
    with pytest.raises(AssertionError, match="Headwater crashed, SIGSEGV"):
        served.stop()
