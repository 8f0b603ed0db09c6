"""Parts of a plan, read over HTTP and straight from a bucket, with the credentials of the plan alone."""

from collections.abc import Iterator

import pytest

from builders import ndjson
from end_to_end.conftest import Served, a_crawler
from headwater_client import Headwater
from headwater_client.errors import PlanUnreadable
from headwater_client.plan_reader import parts_of
from object_stores import READ_ROLE

#: Bytes of documents above which an upload is a file.
INLINED = "16KiB"


@pytest.fixture
def served(serve) -> Served:
    """A server of a data directory."""
    return serve("data", HEADWATER_MAX_INLINED=INLINED)


@pytest.fixture
def in_bucket(serve, seaweedfs) -> Served:
    """A server of a bucket."""
    environment = seaweedfs.environment | {
        "HEADWATER_LAKE_URL": seaweedfs.url(),
        "HEADWATER_LAKE_READ_ROLE": READ_ROLE,
        "HEADWATER_MAX_INLINED": INLINED,
    }
    return serve("data", **environment)


@pytest.fixture
def without_credentials(monkeypatch) -> None:
    """No credentials for a store but those that a plan has."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def headwater(request) -> Iterator[Headwater]:
    """A client of a server, which a test names."""
    server = request.getfixturevalue(request.param)
    with Headwater(server.url, server.key()) as client:
        yield client


def filled(server: Served) -> tuple[str, list[str]]:
    """A stream of large and small runs; its fid and the runs."""
    with server.client() as http:
        crawler = a_crawler(http)
        tasks = []
        for run, ids in enumerate((range(500), range(100, 300), range(3))):
            task = http.post(f"/actions/crawlers/{crawler['fid']}/task", json={}).json()["payload"]
            docs = [{"id": f"{n:03}", "run": run, "text": "x" * 100} for n in ids]
            assert http.post(f"/actions/tasks/{task['fid']}/upload", content=ndjson(docs)).status_code == 200
            http.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200})
            tasks.append(task["fid"])
    return crawler["stream"], tasks


@pytest.mark.parametrize(
    ("headwater", "warehouse"),
    [("served", "headwater"), ("in_bucket", "headwater"), ("in_bucket", "store")],
    indirect=["headwater"],
)
@pytest.mark.usefixtures("without_credentials")
def test_the_parts_of_a_plan_are_the_documents_of_the_stream(request, headwater, warehouse):
    server = request.getfixturevalue(request.node.callspec.params["headwater"])
    stream, tasks = filled(server)
    for without in ([], tasks[1:2]):
        plan = headwater.streams.plan(stream, ranges=4, warehouse=warehouse, without=without)
        parts = parts_of(plan)
        assert (plan.warehouse, len(parts)) == (warehouse, 4)
        rows = [row for part in parts for row in part.table().to_pylist()]
        expected = [(doc.id, doc.task) for doc in headwater.streams.docs(stream, without=without)]
        assert sorted((row["id"], row["task"]) for row in rows) == expected
        assert len(rows) == plan.docs == 500


@pytest.mark.parametrize("headwater", ["served"], indirect=True)
def test_credentials_that_end_with_their_key_are_told_of(served, headwater):
    stream, _ = filled(served)
    made = headwater.keys.create("reader", scopes=["read"])
    with Headwater(served.url, made.key) as reader:
        parts = parts_of(reader.streams.plan(stream, ranges=2))
    assert sum(part.table().num_rows for part in parts) == 500
    headwater.keys.revoke(made)
    with pytest.raises(PlanUnreadable, match="cannot be read"):
        parts[0].table()
