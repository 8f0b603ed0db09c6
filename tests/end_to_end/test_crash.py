"""``kill -9`` at any moment: what was acknowledged is there, what was not is not."""

import asyncio
import json
import random
import threading
from datetime import UTC, datetime, timedelta

import httpx

from end_to_end.conftest import a_crawler, made
from headwater.catalog import garbage, segments
from headwater.catalog.core.database import Database
from headwater.ingest.orphans import delete_orphans
from headwater.lake.store import LocalStore

ROUNDS = 6
UPLOADERS = 4
PER_UPLOAD = 40


class Uploader(threading.Thread):
    """Uploads until the server is gone, and keeps book of what it was told."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.name = name
        self.acknowledged: list[str] = []
        self.in_doubt: list[str] = []

    def run(self) -> None:
        with httpx.Client(timeout=30) as client:
            for number in range(10_000):
                ids = [f"{self.name}-{number}-{line}" for line in range(PER_UPLOAD)]
                body = "".join(json.dumps({"id": each, "pad": "x" * 500}) + "\n" for each in ids)
                try:
                    answer = client.post(f"{self.url}/upload", content=body.encode())
                except httpx.TransportError:
                    self.in_doubt = ids
                    return
                assert answer.status_code == 200, answer.text
                self.acknowledged += ids


def test_every_acknowledged_document_survives_and_no_half_upload_shows(serve):
    rng = random.Random(4)
    headwater = serve()
    with headwater.client() as client:
        crawler = a_crawler(client)
        task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
        endpoint = task["upload"]["endpoint"]
        acknowledged: set[str] = set()
        doubtful: list[list[str]] = []
        for round_ in range(ROUNDS):
            uploaders = [Uploader(endpoint, f"{round_}-{n}") for n in range(UPLOADERS)]
            for uploader in uploaders:
                uploader.start()
            threading.Event().wait(rng.uniform(0.2, 1.2))
            headwater.kill()
            for uploader in uploaders:
                uploader.join()
                acknowledged.update(uploader.acknowledged)
                doubtful.append(uploader.in_doubt)
            headwater.start()
            found = {
                json.loads(line)["id"] for line in client.get(f"/streams/{crawler['stream']}/export").text.splitlines()
            }
            assert acknowledged <= found
            for ids in doubtful:
                # Committed before the answer could be sent, or not at all; never a part.
                assert len(found & set(ids)) in {0, len(ids)}
            assert found <= acknowledged.union(*doubtful)
            log = client.get(f"/streams/{crawler['stream']}/log?limit=1000").json()["payload"]
            newest = client.get(f"/streams/{crawler['stream']}").json()["payload"]["stream_version"]
            assert [entry["version"] for entry in log] == list(range(newest, newest - len(log), -1))
            assert len(log) == min(newest, 1000)
        assert len(acknowledged) > 0
    headwater.stop()
    nothing_is_left_that_the_sweep_does_not_find(headwater)


def nothing_is_left_that_the_sweep_does_not_find(headwater) -> None:
    """Check that every file of the lake is named by the catalog, but for orphans, which are deleted."""
    store = LocalStore(headwater.data / "lake")
    db = Database(f"sqlite:///{headwater.data / 'catalog.sqlite'}")
    later = datetime.now(UTC) + timedelta(minutes=1)
    asyncio.run(delete_orphans(db, store, at=later, grace=timedelta(0)))
    left = [*store.garbage(before=later), *store.kept(before=later)]
    named = [asyncio.run(db.read(known, left)) for known in (segments.still_named, garbage.still_named)]
    db.close()
    assert set(left) == set.union(*named)
