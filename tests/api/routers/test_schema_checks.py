"""What another schema would do, over HTTP."""

import asyncio

import pytest

from headwater.api.dependencies import MOST_CHECKS
from headwater.api.routers import schema_checks

LINES = b'{"id": "a", "price": 1}\n{"id": "b", "price": "free"}\n{"id": "c"}\n'


async def _check(api, external, **body):
    return await api.post(f"/actions/externals/{external['fid']}/check", json=body)


@pytest.fixture
async def external(made):
    return await made.external(schema={"required": ["id"]})


async def test_it_tells_what_would_be_refused_of_which_stream(api, made, external):
    books = await made.stream(meta={"name": "Books"})
    empty = await made.stream()
    task = await made.done(await made.crawler(external, books), LINES)
    await made.crawler(external, empty)
    await made.done(await made.crawler(), LINES)  # of another External
    answer = await _check(api, external, schema={"properties": {"price": {"type": "number"}}})
    assert (answer.status_code, answer.json()["version"]) == (200, 0)
    assert answer.json()["payload"] == {
        "documents": 3,
        "failing": 1,
        "renamed": 0,
        "streams": [
            {
                "stream": books["fid"],
                "name": "Books",
                "stream_version": 1,
                "documents": 3,
                "failing": 1,
                "renamed": 0,
                "examples": [
                    {
                        "id": "b",
                        "task": task["fid"],
                        "pointer": "/price",
                        "keyword": "type",
                        "schema_pointer": "/properties/price/type",
                        "detail": '"free" is not of type "number"',
                    }
                ],
            },
            {
                "stream": empty["fid"],
                "name": None,
                "stream_version": 0,
                "documents": 0,
                "failing": 0,
                "renamed": 0,
                "examples": [],
            },
        ],
    }


async def test_nothing_is_stored(api, made, external):
    crawler = await made.crawler(external)
    await made.done(crawler, LINES)

    async def all_there_is():
        paths = [f"/{kind}" for kind in ("streams", "externals", "crawlers", "tasks")]
        return [
            (await api.get(path)).json()
            for path in [*paths, f"/externals/{external['fid']}/versions", f"/streams/{crawler['stream']}/log"]
        ]

    before = await all_there_is()
    assert (await _check(api, external, schema=False)).json()["payload"]["failing"] == 3
    after = await all_there_is()
    # How many documents a stream has is counted afterwards, by a loop of its own.
    for listing in (before[0], after[0]):
        for stream in listing["payload"]:
            stream.update(docs=None, docs_version=None)
    for listing in (before[3], after[3]):
        for task in listing["payload"]:
            task.update(summary=None)
    assert after == before


async def test_what_the_schema_takes_is_then_taken_by_an_upload_and_the_rest_is_not(api, made, external):
    crawler = await made.crawler(external)
    await made.done(crawler, LINES)
    schema = {"required": ["price"]}
    found = (await _check(api, external, schema=schema)).json()["payload"]["streams"][0]
    assert (await api.patch(f"/externals/{external['fid']}", json={"schema": schema})).status_code == 200
    refused = await made.upload(await made.task(crawler), LINES)
    assert refused.status_code == 406
    assert [each["doc_id"] for each in refused.json()["errors"]] == [each["id"] for each in found["examples"]] == ["c"]


async def test_another_field_for_the_id_tells_whose_id_would_change(api, made, external):
    lines = b'{"id": "a", "sku": "a"}\n{"id": "b", "sku": "x"}\n{"id": "c"}\n'
    await made.done(await made.crawler(external), lines)
    asked = {"as it is": {}, "another": {"docIdField": "sku"}, "none": {"docIdField": None}}
    renamed = {
        name: (await _check(api, external, schema=None, **body)).json()["payload"]["renamed"]
        for name, body in asked.items()
    }
    assert renamed == {"as it is": 0, "another": 2, "none": 3}


async def test_a_schema_that_does_not_compile_is_400_with_the_place(api, external, assert_problem):
    problem = assert_problem(await _check(api, external, schema={"type": "numbr"}), 400, "schema-invalid")
    assert problem["errors"][0]["pointer"] == "/schema/type"
    problem = assert_problem(await _check(api, external, schema={"$ref": "http://elsewhere"}), 400, "schema-invalid")
    assert problem["errors"][0]["pointer"] == "/schema"


async def test_a_check_of_nothing_is_refused(api, external, assert_problem):
    assert_problem(await _check(api, {"fid": "0" * 32}, schema=True), 404, "not-found")
    assert assert_problem(await _check(api, external), 400, "request-invalid")["errors"][0]["pointer"] == "/schema"
    assert_problem(await _check(api, external, schema=7), 400, "request-invalid")
    assert_problem(await _check(api, external, schema=True, limit=7), 400, "request-invalid")


@pytest.fixture
async def busy(api):
    """A Headwater on which as many checks go on as may at once."""
    checks = api.app.state.services.checks
    for _ in range(MOST_CHECKS):
        await checks.acquire()
    return checks


async def test_so_many_go_on_at_once_and_others_wait(api, made, external, busy):
    await made.done(await made.crawler(external), LINES)
    waiting = asyncio.create_task(_check(api, external, schema=False))
    # What is asked meanwhile is answered.
    for _ in range(5):
        assert (await api.get(f"/externals/{external['fid']}")).status_code == 200
    assert not waiting.done()
    busy.release()
    assert (await waiting).json()["payload"]["failing"] == 3


async def test_who_goes_away_while_waiting_leaves_nothing_behind(api, external, busy):
    left, said = asyncio.Event(), []
    body = [{"type": "http.request", "body": b'{"schema": true}', "more_body": False}]

    async def receive():
        if body:
            return body.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        said.append(message)

    path = f"/actions/externals/{external['fid']}/check"
    headers = [(b"authorization", api.headers["authorization"].encode()), (b"content-type", b"application/json")]
    headers.append((b"host", b"x"))
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": headers, "http_version": "1.1", "scheme": "http", "root_path": "", "server": ("x", 80)}
    asking = asyncio.create_task(api.app(scope | {"asgi": {"version": "3.0"}}, receive, send))
    await asyncio.sleep(0.1)
    assert said == []
    left.set()
    await asyncio.wait_for(asking, 10)
    assert said[0]["status"] == 499
    busy.release()
    assert not busy.locked()


class _Request:
    """A request whose client goes away when the test says so."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_a_client_that_goes_away_ends_the_work():
    request, begun, ended = _Request(), asyncio.Event(), asyncio.Event()

    async def work():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    answering = asyncio.create_task(schema_checks._while_connected(request, work()))  # noqa: SLF001 - no client can be seen to leave
    await begun.wait()
    request.left.set()
    assert await asyncio.wait_for(answering, 5) is None
    assert ended.is_set()


async def test_work_that_ends_or_fails_first_is_answered():
    async def work():
        return 7

    async def fails():
        raise ValueError("no")

    assert await schema_checks._while_connected(_Request(), work()) == 7  # noqa: SLF001 - see above
    with pytest.raises(ValueError, match="no"):
        await schema_checks._while_connected(_Request(), fails())  # noqa: SLF001 - see above
