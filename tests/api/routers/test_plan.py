import asyncio
from datetime import timedelta

import pytest

from headwater.api import iceberg_access
from headwater.lake.plan import MOST_RANGES
from lakes import needs_directory
from planned_files import rows_of_plan


@pytest.fixture
async def books(made) -> dict:
    """A crawler whose stream has two runs."""
    crawler = await made.crawler()
    await made.done(crawler, b'{"id": "a", "v": 1}\n{"id": "b", "v": 1}\n')
    await made.done(crawler, b'{"id": "b", "v": 2}\n{"id": "c", "v": 2}\n')
    return crawler


async def planned(api, stream: str, **params) -> dict:
    answer = await api.get(f"/streams/{stream}/plan", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["payload"]


async def read(api, plan: dict) -> list[tuple[str, str, str]]:
    """The rows of a plan, whose files are read over HTTP."""
    token = plan["config"]["s3.session-token"]
    files = {
        file["location"]
        for one in plan["ranges"]
        for segment in one["segments"]
        for file in (segment, segment["deletes"])
        if file is not None
    }
    content = {}
    for location in files:
        path = location.removeprefix("s3:/")
        answer = await api.get(path, headers={iceberg_access.TOKEN_HEADER: token, "authorization": ""})
        assert answer.status_code == 200, answer.text
        content[location] = answer.content
    return rows_of_plan(plan, content.__getitem__)


async def exported(api, stream: str, **params) -> list[tuple[str, str, str]]:
    docs = (await api.get(f"/streams/{stream}/docs", params={"limit": 1000, **params})).json()["payload"]
    texts = (await api.get(f"/streams/{stream}/export", params=params)).text.splitlines(keepends=True)
    return [(doc["id"], doc["task"], text) for doc, text in zip(docs, texts, strict=True)]


@pytest.mark.both_databases
async def test_the_files_of_a_plan_are_what_an_export_has(api, books):
    stream = books["stream"]
    tasks = [doc["task"] for doc in (await api.get(f"/streams/{stream}/docs")).json()["payload"]]
    views = [{}, {"as_of": 1}, {"without": tasks[0]}, {"without": tasks[2]}, {"without": ",".join(tasks), "as_of": 1}]
    for view in views:
        for ranges in (1, 2, MOST_RANGES):
            plan = await planned(api, stream, ranges=ranges, **view)
            assert await read(api, plan) == await exported(api, stream, **view)
            assert plan["version"] == view.get("as_of", 2)
            assert len(plan["ranges"]) <= ranges


async def test_a_plan_says_how_and_until_when_files_can_be_read(api, books):
    plan = await planned(api, books["stream"])
    assert plan["warehouse"] == "headwater"
    assert plan["config"]["s3.endpoint"] == f"{str(api.base_url).rstrip('/')}/"
    assert plan["expires_at"].endswith("Z")
    assert plan["docs"] == 3
    assert (await api.head(f"/streams/{books['stream']}/plan")).status_code == 200


@needs_directory
async def test_readers_on_the_same_machine_are_told_paths(api, books):
    plan = await planned(api, books["stream"], warehouse="local")
    assert plan["config"] == {}

    def content(location: str) -> bytes:
        assert location.startswith("file:///")
        with open(location.removeprefix("file://"), "rb") as file:  # noqa: PTH123 - of a URL
            return file.read()

    assert await asyncio.to_thread(rows_of_plan, plan, content) == await exported(api, books["stream"])


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ("ranges=0", 400, "?ranges"),
        (f"ranges={MOST_RANGES + 1}", 400, "?ranges"),
        ("ranges=many", 400, "?ranges"),
        ("as_of=9", 400, "there is no version 9 yet"),
        ("as_of=-1", 400, "?as_of"),
        ("without=x", 400, "no fid of a task"),
        (f"without={'f' * 32}", 400, "is no task of stream"),
        ("warehouse=other", 400, "?warehouse"),
        ("where=a>1", 400, "known are"),
        ("warehouse=store", 404, "lake_read_role"),
    ],
)
async def test_what_cannot_be_planned_is_told(api, books, query, status, told):
    answer = await api.get(f"/streams/{books['stream']}/plan?{query}")
    assert (answer.status_code, told in answer.text) == (status, True), answer.text


async def test_there_is_no_plan_of_no_stream(api, assert_problem):
    assert_problem(await api.get(f"/streams/{'f' * 32}/plan"), 404, "not-found")


async def test_a_key_plans_what_it_may_read(api, made, books):
    other = await made.crawler()
    body = {"name": "one", "scopes": ["read"], "streams": [books["stream"]]}
    key = (await api.post("/keys", json=body)).json()["payload"]["key"]
    for stream, secret, status in ((books, key, 200), (other, key, 403), (books, "unknown", 401)):
        path = f"/streams/{stream['stream']}/plan"
        answer = await api.get(path, headers={"authorization": f"Bearer {secret}"})
        assert answer.status_code == status, answer.text


async def test_the_credentials_of_a_plan_are_for_its_stream_and_an_hour(api, made, books):
    other = await made.crawler()
    await made.done(other, b'{"id": "z"}\n')
    mine, others = await planned(api, books["stream"]), await planned(api, other["stream"])
    [segment] = others["ranges"][0]["segments"]

    path = segment["location"].removeprefix("s3:/")
    for plan, status in ((mine, 403), (others, 200)):
        token = plan["config"]["s3.session-token"]
        answer = await api.get(path, headers={iceberg_access.TOKEN_HEADER: token, "authorization": ""})
        assert answer.status_code == status, answer.text
    services = api.app.state.services
    later = services.clock() + iceberg_access.VALID_FOR + timedelta(seconds=1)
    assert iceberg_access.grant_of(token, services.vault, at=later) is None
