"""Servers with nothing in common but a catalog in PostgreSQL and a bucket."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

import object_stores
from builders import ndjson
from end_to_end.conftest import Served, a_crawler, admin_key, made, wait_for

SECRET = "one secret key for all nodes, long"
#: Bytes of documents above which an upload is a file.
INLINED = 64 << 10


@pytest.fixture
def lake(seaweedfs) -> str:
    return seaweedfs.url()


@pytest.fixture
def nodes(postgres_url, seaweedfs, lake, serve) -> list[Served]:
    environment = seaweedfs.environment | {
        "HEADWATER_DATABASE_URL": postgres_url,
        "HEADWATER_SECRET_KEY": SECRET,
        "HEADWATER_LAKE_URL": lake,
        "HEADWATER_LAKE_CACHE": "64MiB",
    }
    return [serve(name, **environment) for name in ("one", "two")]


@pytest.fixture
def clients(nodes, postgres_url) -> Iterator[list[httpx.Client]]:
    key = admin_key(postgres_url)
    with ExitStack() as stack:
        yield [stack.enter_context(node.client(key)) for node in nodes]


def upload(client: httpx.Client, task: dict, docs: list[dict], **headers: str) -> httpx.Response:
    return client.post(f"/actions/tasks/{task['fid']}/upload", content=ndjson(docs), headers=headers)


def report(client: httpx.Client, task: dict, code: int = 200) -> None:
    answer = client.post(f"/actions/tasks/{task['fid']}/status", json={"code": code})
    assert answer.status_code == 200, answer.text


def docs_of(run: object, count: int, *, size: int = 1000) -> list[dict]:
    return [{"id": f"{run}-{number}", "run": run, "text": "x" * size} for number in range(count)]


def exported(client: httpx.Client, stream: str, **query: object) -> list[dict]:
    answer = client.get(f"/streams/{stream}/export", params=query)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.content.splitlines()]


def test_nodes_with_nothing_in_common_but_catalog_and_bucket_show_the_same(clients, nodes, seaweedfs, lake):
    one, two = clients
    crawler = a_crawler(one)
    stream = crawler["stream"]
    runs = []
    for run in range(4):
        # Each run goes through both nodes: one begins it, both take uploads, large and small, the other ends it.
        task = made((one, two)[run % 2], f"/actions/crawlers/{crawler['fid']}/task")
        for part, client in enumerate((one, two, one)):
            count = 3 if part == 1 else 2 * INLINED // 1000
            assert upload(client, task, docs_of(f"{run}-{part}", count)).status_code == 200
        assert upload(two, task, [{"id": "shared", "run": run}]).status_code == 200
        report((two, one)[run % 2], task)
        runs.append(task)
        assert exported(one, stream) == exported(two, stream)
    assert any(path.startswith("streams/") for path in seaweedfs.keys(lake))
    assert not any((node.data / "lake/streams").exists() for node in nodes)
    shared = f"/streams/{stream}/docs/shared"
    assert [client.get(shared).json()["payload"]["doc"]["run"] for client in clients] == [3, 3]
    assert two.delete(f"/tasks/{runs[3]['fid']}").status_code == 200
    assert [client.get(shared).json()["payload"]["doc"]["run"] for client in clients] == [2, 2]
    log = f"/actions/tasks/{runs[0]['fid']}/log"
    assert [client.post(log, content=b"line\n").status_code for client in clients] == [202, 202]
    for client in clients:
        assert len(client.get(f"/tasks/{runs[0]['fid']}/log").json()["payload"]) == 2
    export = made(two, f"/actions/streams/{stream}/export?format=parquet")
    assert one.get(export["path"]).content == two.get(export["path"]).content
    part = one.get(export["path"], headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"PAR1")
    without = {"without": runs[1]["fid"]}
    assert exported(one, stream, **without) == exported(two, stream, **without)
    assert one.post(f"/actions/tasks/{runs[3]['fid']}/restore").status_code == 200
    assert [client.get(shared).json()["payload"]["doc"]["run"] for client in clients] == [3, 3]
    expected = {
        doc["id"]
        for run in range(4)
        for part, count in enumerate((131, 3, 131))
        for doc in docs_of(f"{run}-{part}", count)
    }
    assert {doc["id"] for doc in exported(two, stream)} == expected | {"shared"}


def test_what_a_killed_node_acknowledged_is_shown_by_the_other(clients, nodes):
    one, two = clients
    crawler = a_crawler(two)
    task = made(two, f"/actions/crawlers/{crawler['fid']}/task")
    acknowledged: set[str] = set()
    doubtful: list[set[str]] = []
    for round_ in range(3):
        stop = threading.Event()

        def work(name: str, stop: threading.Event = stop) -> tuple[set[str], set[str]]:
            done: set[str] = set()
            with nodes[0].client(one.headers["Authorization"].removeprefix("Bearer ")) as client:
                for number in range(1000):
                    docs = docs_of(f"{name}-{number}", 3 if number % 2 else 80)
                    ids = {doc["id"] for doc in docs}
                    try:
                        answer = upload(client, task, docs)
                    except httpx.TransportError:
                        return done, ids
                    assert answer.status_code == 200, answer.text
                    done |= ids
                    if stop.is_set() and len(done) > 200:
                        return done, set()
            return done, set()

        with ThreadPoolExecutor(3) as threads:
            working = [threads.submit(work, f"{round_}-{n}") for n in range(3)]
            threading.Event().wait(0.6 + 0.3 * round_)
            nodes[0].kill()
            stop.set()
            for one_ in working:
                done, in_doubt = one_.result()
                acknowledged |= done
                doubtful.append(in_doubt)
        found = {doc["id"] for doc in exported(two, crawler["stream"])}
        assert acknowledged <= found
        for ids in doubtful:
            assert len(found & ids) in {0, len(ids)}
        assert found <= acknowledged.union(*doubtful)
        nodes[0].start()
    assert acknowledged
    assert exported(one, crawler["stream"]) == exported(two, crawler["stream"])


@pytest.mark.usefixtures("nodes")
def test_a_node_that_starts_with_another_lake_or_none_refuses(postgres_url, seaweedfs, serve):
    environment = seaweedfs.environment | {"HEADWATER_DATABASE_URL": postgres_url, "HEADWATER_SECRET_KEY": SECRET}
    with pytest.raises(AssertionError, match="the setting lake_url names none"):
        serve("none", **environment)
    with pytest.raises(AssertionError, match="documents are in s3://lake/"):
        serve("other", **environment, HEADWATER_LAKE_URL=seaweedfs.url())


def test_a_store_that_is_away_loses_nothing_and_is_used_again_when_it_is_back(serve, tmp_path):
    with object_stores.seaweedfs_process(tmp_path / "weed") as (store, process):
        served = serve(**store.environment, HEADWATER_LAKE_URL=store.url(), HEADWATER_UPLOAD_THREADS="2")
        with served.client() as client:
            crawler = a_crawler(client)
            task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
            large, small = docs_of("large", 100), docs_of("small", 2)
            assert upload(client, task, large).status_code == 200
            process.kill()
            process.wait()
            assert upload(client, task, small).status_code == 200
            refused = upload(client, task, docs_of("refused", 100), **{"Idempotency-Key": "a"})
            assert refused.status_code == 503, refused.text
            assert client.get("/readyz").status_code == 503
            # What the cache has is read all the same.
            assert len(exported(client, crawler["stream"])) == 102
            with object_stores.seaweedfs_process(tmp_path / "weed", s3_port=store.port) as (_, _):
                assert upload(client, task, docs_of("refused", 100), **{"Idempotency-Key": "a"}).status_code == 200
                assert len(exported(client, crawler["stream"])) == 202
                wait_for(lambda: client.get("/readyz").status_code == 200)
