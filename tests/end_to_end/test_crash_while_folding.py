"""``kill -9`` within folds and merges: every version shows what it showed, once."""

import json
import random
import time
from pathlib import Path

import httpx

from end_to_end.conftest import Served, a_crawler, made, wait_for
from end_to_end.test_crash import nothing_is_left_that_the_sweep_does_not_find

ROUNDS = 6
RUNS = 4
#: Ids of all runs: each run has half of them.
IDS = 40
#: Uploads of a run: more than compaction leaves to folding, in every second run.
UPLOADS = (2, 6)
#: Seconds for which a fold or a merge is waited for.
PATIENCE = 4.0


class Book:
    """What the stream showed at each version that was noted."""

    def __init__(self, client: httpx.Client, stream: str) -> None:
        self.client = client
        self.stream = stream
        self.shown: dict[str, str] = {}
        self.versions: dict[int, dict[str, str]] = {}

    def note(self) -> None:
        version = self.client.get(f"/streams/{self.stream}").json()["payload"]["stream_version"]
        self.versions[version] = dict(self.shown)

    def check(self) -> None:
        for version, shown in self.versions.items():
            answer = self.client.get(f"/streams/{self.stream}/export", params={"as_of": version})
            assert answer.status_code == 200, answer.text
            lines = [json.loads(line) for line in answer.text.splitlines()]
            assert [line["id"] for line in lines] == sorted(shown)
            assert {line["id"]: line["text"] for line in lines} == shown


def _run(client: httpx.Client, crawler: str, name: str, rng: random.Random, book: Book, *, uploads: int) -> None:
    endpoint = made(client, f"/actions/crawlers/{crawler}/task")["upload"]["endpoint"]
    ids = rng.sample(range(IDS), IDS // 2)
    for number in range(uploads):
        documents = {f"id-{each:03}": f"{name} {number} " + "x" * 2000 for each in ids[number::uploads]}
        lines = (json.dumps({"id": each, "text": text}) + "\n" for each, text in documents.items())
        answer = client.post(f"{endpoint}/upload", content="".join(lines).encode())
        assert answer.status_code == 200, answer.text
        book.shown |= documents
    assert client.post(f"{endpoint}/status", json={"code": 200}).status_code == 200
    book.note()


def _files(data: Path) -> set[Path]:
    return {path for path in (data / "lake").rglob("*") if path.is_file()}


def _kill_while_it_writes(headwater: Served, before: set[Path], rng: random.Random) -> bool:
    """Kill the server soon after it has begun to write a file; return whether it has."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if _files(headwater.data) - before:
            time.sleep(rng.choice([0, 0, 0.002, 0.01, 0.05]))
            headwater.kill()
            return True
        time.sleep(0.001)
    headwater.kill()
    return False


def test_folds_and_merges_that_are_killed_lose_nothing_and_show_nothing_twice(serve):
    rng = random.Random(16)
    headwater = serve()
    with headwater.client() as client:
        crawler = a_crawler(client)
        book = Book(client, crawler["stream"])
        hits = 0
        for round_ in range(ROUNDS):
            before = _files(headwater.data)
            for run in range(RUNS):
                _run(client, crawler["fid"], f"{round_} {run}", rng, book, uploads=UPLOADS[run % 2])
            hits += _kill_while_it_writes(headwater, before, rng)
            headwater.start()
            book.check()
        assert hits > ROUNDS / 2
        # What was broken off is done in the end.
        wait_for(lambda: client.get(f"/streams/{crawler['stream']}").json()["payload"]["docs"] == len(book.shown))
        wait_for(lambda: "stream.folded" in headwater.log.read_text())
        book.check()
    headwater.stop()
    nothing_is_left_that_the_sweep_does_not_find(headwater)
