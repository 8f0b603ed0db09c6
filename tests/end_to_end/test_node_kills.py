"""Nodes that are killed or hang, and a store that restarts, at random under load: nothing acknowledged is lost.

``TEST_KILLS`` says how often, 20 unless set; ``make test-kills`` does it 300 times.
"""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from builders import ndjson
from end_to_end.conftest import Served, a_crawler, admin_key, made, wait_for
from object_stores import S3, seaweedfs_process

KILLS = int(os.environ.get("TEST_KILLS") or 20)
SEED = int(os.environ.get("TEST_SEED") or 5)
NODES = 3
UPLOADERS = 4
#: Documents of an upload that stays rows of the catalog, and of one that becomes a file.
SMALL, LARGE = 3, 90
#: Seconds that an uploader waits for an answer: less than a node hangs, at times.
ANSWERED_WITHIN = 3.0
#: After so many tries, an uploader does not know whether its upload was stored.
TRIES = 40


class Uploader(threading.Thread):
    """Uploads through any of the nodes, again with the same key if it does not know, and records what it was told."""

    def __init__(self, urls: list[str], key: str, task: str, name: str) -> None:
        super().__init__(daemon=True)
        self.urls, self.key, self.task, self.name = urls, key, task, name
        self.dice = random.Random(name)
        self.ended = threading.Event()
        self.acknowledged: set[str] = set()
        self.in_doubt: list[set[str]] = []
        self.refused: list[str] = []
        self.answers: Counter[str] = Counter()

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        number = 0
        with httpx.Client(headers=headers, timeout=ANSWERED_WITHIN, trust_env=False) as client:
            while not self.ended.is_set() and not self.refused:
                number += 1
                count = LARGE if self.dice.random() < 0.3 else SMALL
                docs = [{"id": f"{self.name}-{number}-{n}", "pad": "x" * 1000} for n in range(count)]
                ids = {doc["id"] for doc in docs}
                if any(self.is_stored(client, ndjson(docs), f"{self.name}-{number}") for _ in range(TRIES)):
                    self.acknowledged |= ids
                else:
                    self.in_doubt.append(ids)

    def is_stored(self, client: httpx.Client, body: bytes, key: str) -> bool:
        url = f"{self.dice.choice(self.urls)}/actions/tasks/{self.task}/upload"
        try:
            answer = client.post(url, content=body, headers={"Idempotency-Key": key})
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1
            time.sleep(0.05)
            return False
        self.answers[str(answer.status_code)] += 1
        # Away for the moment, or the same upload is still under way in another node.
        if answer.status_code in {409, 503, 507}:
            time.sleep(0.1)
        elif answer.status_code != 200:
            self.refused.append(f"{answer.status_code} {answer.text}")
        return answer.status_code == 200


class Store:
    """The store's server, on one port and folder whenever it is started."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.s3, self.process = stack.enter_context(seaweedfs_process(folder))

    def restart(self) -> None:
        self.process.kill()
        self.process.wait()
        time.sleep(0.2)
        self.s3, self.process = self.stack.enter_context(seaweedfs_process(self.folder, s3_port=self.s3.port))


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    with ExitStack() as stack:
        yield Store(tmp_path / "weed", stack)


@pytest.fixture
def nodes(postgres_url, store, serve) -> list[Served]:
    s3: S3 = store.s3
    environment = s3.environment | {
        "HEADWATER_DATABASE_URL": postgres_url,
        "HEADWATER_SECRET_KEY": "one secret key for all nodes, long",
        "HEADWATER_LAKE_URL": s3.url(),
    }
    return [serve(f"node-{number}", **environment) for number in range(NODES)]


def harm(dice: random.Random, nodes: list[Served], store: Store) -> str:
    """Do one thing to the cluster, and undo it."""
    node = dice.choice(nodes)
    match dice.choices(["kill", "hang", "store"], [6, 3, 1])[0]:
        case "kill":
            node.kill()
            time.sleep(dice.uniform(0, 0.5))
            node.start()
            return "kill"
        case "hang":
            node.process.send_signal(signal.SIGSTOP)
            time.sleep(dice.uniform(0.2, 1.5 * ANSWERED_WITHIN))
            node.process.send_signal(signal.SIGCONT)
            return "hang"
        case _:
            store.restart()
            return "store"


def exported(node: Served, key: str, stream: str) -> Counter[str]:
    with node.client(key) as client:
        answer = client.get(f"/streams/{stream}/export")
    assert answer.status_code == 200, answer.text
    return Counter(json.loads(line)["id"] for line in answer.content.splitlines())


def agreed(shown: list[Counter[str]]) -> Counter[str] | None:
    return shown[0] if all(one == shown[0] for one in shown) else None


def test_what_was_acknowledged_survives_any_node_and_the_store(nodes, store, postgres_url):
    dice = random.Random(SEED)
    key = admin_key(postgres_url)
    urls = [node.url for node in nodes]
    with nodes[0].client(key) as client:
        crawlers = [a_crawler(client) for _ in range(2)]
        tasks = [made(client, f"/actions/crawlers/{crawler['fid']}/task")["fid"] for crawler in crawlers]
    uploaders = [Uploader(urls, key, tasks[n % 2], f"uploader-{n}") for n in range(UPLOADERS)]
    for uploader in uploaders:
        uploader.start()
    done: Counter[str] = Counter()
    try:
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.1, 0.8))
            done[harm(dice, nodes, store)] += 1
            assert not [uploader.refused for uploader in uploaders if uploader.refused]
    finally:
        for uploader in uploaders:
            uploader.ended.set()
        for uploader in uploaders:
            uploader.join(TRIES * (ANSWERED_WITHIN + 1))
    for node in nodes:
        wait_for(lambda node=node: httpx.get(f"{node.url}/readyz", trust_env=False).status_code == 200, seconds=60)
    answers = sum((uploader.answers for uploader in uploaders), Counter())
    acknowledged = sum(len(uploader.acknowledged) for uploader in uploaders)
    print(f"{dict(done)}; {acknowledged} documents acknowledged; answers {dict(answers)}")  # noqa: T201 - shown with -s
    assert not any(uploader.refused for uploader in uploaders)
    for place, crawler in enumerate(crawlers):
        those = uploaders[place::2]
        sure = set().union(*(uploader.acknowledged for uploader in those))
        in_doubt = [ids for uploader in those for ids in uploader.in_doubt]
        assert sure
        # An upload that was in doubt may still be stored by a node that went on a moment ago.
        shown = wait_for(lambda stream=crawler["stream"]: agreed([exported(node, key, stream) for node in nodes]))
        found = set(shown)
        assert max(shown.values()) == 1
        assert sure - found == set(), "lost"
        assert found - sure.union(*in_doubt) == set(), "phantoms"
        for ids in in_doubt:
            assert len(found & ids) in {0, len(ids)}
