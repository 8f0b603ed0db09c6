"""What a crawler's server refuses, and how it says so."""

import json

import httpx
import pytest

from server.calling import Caller


def refusal(answer):
    body = answer.json()
    assert set(body) == {"success", "messages"}
    assert body["success"] is False
    return answer.status_code, body["messages"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "the body is not an object"),
        (b"{}", "fid: expected"),
        (b'{"fid": 3}', "fid: expected"),
        (b'{"fid": "../f"}', "fid: expected"),
        (b'{"fid": "f"}', "endpoint: expected"),
        (b'{"fid": "f", "endpoint": "hw/actions/tasks/f.t"}', "endpoint: expected"),
        (b'{"fid": "f", "endpoint": "file:///actions/tasks/f.t"}', "endpoint: expected"),
        (b'{"fid": "f", "endpoint": "http://hw:port/actions/tasks/f.t"}', "endpoint: expected"),
        (b'{"fid": "f", "endpoint": "http://u@hw/actions/tasks/f.t"}', "endpoint: expected"),
        (b'{"fid": "f", "endpoint": "http://hw/elsewhere/f.t"}', "endpoint: expected"),
        (b'{"fid": "f", "endpoint": "http://hw/actions/tasks/f.t", "params": []}', "params, credential: expected"),
        (b'{"fid": "f", "endpoint": "http://hw/actions/tasks/f.t", "token": 1}', "token: expected"),
    ],
)
async def test_an_order_that_is_none_is_400_and_says_why(call, body, said):
    answer = await call(lambda _task: None).client.post("/task?version=1", content=body)

    status, messages = refusal(answer)
    assert status == 400
    assert len(messages) == 1
    assert messages[0].startswith(said)


async def test_a_version_that_is_none_is_400(call):
    answer = await call(lambda _task: None).start(version="new")

    assert refusal(answer) == (400, ["version: expected a number"])


async def test_an_order_without_a_version_is_taken(call, headwater):
    seen = []
    caller = call(lambda task: seen.append(task.version))
    order = {"fid": "f1", "endpoint": "https://hw/base/actions/tasks/f1.t1/"}

    answer = await caller.client.post("/task", json=order)
    await headwater.closed()

    assert answer.status_code == 200
    assert seen == [None]
    assert [heard.token for heard in headwater.heard] == ["t1"]


async def test_other_paths_are_404(call):
    caller = call(lambda _task: None)

    assert refusal(await caller.client.post("/tasks")) == (404, ["POST /tasks: Not Found"])
    assert refusal(await caller.client.patch("/task/f1"))[0] == 404


async def test_other_methods_are_405_and_say_which_there_are(call):
    caller = call(lambda _task: None)

    answer = await caller.client.get("/task")

    assert refusal(answer) == (405, ["GET /task: Method Not Allowed"])
    assert answer.headers["allow"] == "POST"
    assert (await caller.client.post("/task/f1/status")).headers["allow"] == "PATCH"


async def test_a_body_over_the_limit_is_413(call):
    answer = await call(lambda _task: None).start(params={"long": "x" * (1 << 20)})

    assert refusal(answer) == (413, ["a body has 1048576 bytes at most"])


async def test_a_server_that_fails_says_nothing_of_the_inside(call):
    def broken(_request):
        raise RuntimeError("the password is swordfish")

    answer = await call(lambda _task: None, authorize=broken).start()

    assert refusal(answer) == (500, ["the crawler failed to answer; its log says why"])


async def test_health_is_answered_to_everybody(call):
    answer = await call(lambda _task: None, secret="s3cret").client.get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"success": True, "payload": {"running": 0, "waiting": 0}}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}])
async def test_without_the_secret_every_call_is_401(make, headers):
    caller = Caller(make(lambda _task: None, secret="s3cret"), **headers)

    for answer in (await caller.start(), await caller.end()):
        assert refusal(answer)[0] == 401
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_with_the_secret_a_call_is_answered(make, headwater):
    caller = Caller(make(lambda _task: None, secret="s3cret"), Authorization="Bearer s3cret")

    assert (await caller.start()).status_code == 200
    assert (await headwater.closed())["code"] == 200


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_function_may_decide_who_calls(make, is_async):
    async def later(request):
        return request.headers.get("x-caller") == "headwater"

    def at_once(request):
        return request.headers.get("x-caller") == "headwater"

    crawler = make(lambda _task: None, authorize=later if is_async else at_once)

    assert (await Caller(crawler).start()).status_code == 401
    assert (await Caller(crawler, **{"X-Caller": "headwater"}).start()).status_code == 200


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil/actions/tasks/f1.t1",
        "http://hw.example/actions/tasks/f1.t1",
        "https://hw.example:444/actions/tasks/f1.t1",
        "https://hw.example.evil/actions/tasks/f1.t1",
        "https://hw.example/other/actions/tasks/f1.t1",
        "https://hw.example/base/../evil/actions/tasks/f1.t1",
    ],
)
async def test_an_order_of_another_headwater_is_403(call, headwater, endpoint):
    caller = call(lambda _task: None, backends=["https://hw.example/base", "https://hw.example"])

    status, messages = refusal(await caller.start(endpoint=endpoint))

    assert status == 403
    assert messages[0].startswith("this crawler does not upload to ")
    assert headwater.heard == []


@pytest.mark.parametrize("base", ["https://hw.example", "https://HW.example:443", "https://hw.example/base"])
async def test_an_order_of_our_headwater_is_taken(call, headwater, base):
    caller = call(lambda _task: None, backends=["https://hw.example/base/", "https://hw.example"])

    assert (await caller.start(endpoint=f"{base}/actions/tasks/f1.t1")).status_code == 200
    assert (await headwater.closed())["code"] == 200


async def test_nothing_is_shown_of_tokens_and_credentials(call, headwater, caplog):
    caplog.set_level("DEBUG")
    shown = []

    async def crawl(task):
        shown.append(repr(task) + repr(vars(task)["_order"]))
        raise RuntimeError("no")

    await call(crawl).start(token="t0ken", credential={"user": "jo", "password": "swordfish"})
    await headwater.closed()

    for text in (*shown, caplog.text, json.dumps(headwater.statuses())):
        assert "t0ken" not in text
        assert "swordfish" not in text


async def test_an_asgi_server_finds_the_crawler_without_a_function(make):
    crawler = make()

    with pytest.raises(TypeError, match=r"@crawler\.task"):
        async with crawler.lifespan():
            pass
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=crawler), base_url="http://ec") as client:
        with pytest.raises(TypeError, match=r"@crawler\.task"):
            await client.post("/task", json={"fid": "f", "endpoint": "http://hw/actions/tasks/f.t"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"waiting": -1}, "waiting"),
        ({"writer": {"max_byte": 3}}, "max_byte"),
        ({"params": dict}, "dataclass or a pydantic model"),
        ({"secret": ""}, "a secret is of printable ASCII"),
        ({"secret": "a\nb"}, "a secret is of printable ASCII"),
        ({"backends": ["headwater.example.org"]}, "a backend looks like"),
        ({"backends": ["https://hw:port"]}, "a backend looks like"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(make, options, said):
    with pytest.raises((TypeError, ValueError), match=said):
        make(**options)
