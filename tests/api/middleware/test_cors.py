import httpx
import pytest

from headwater.api.middleware.cors import CorsPolicy
from headwater.domain.origin import is_origin

SHOP = "https://shop.example"
PREFLIGHT = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}


@pytest.fixture
async def settings(settings):
    return settings.model_copy(update={"cors_origins": ("https://console.example",)})


async def _begun(made) -> str:
    task = await made.task()
    return httpx.URL(task["upload"]["endpoint"]).path


async def test_a_change_from_an_origin_that_is_not_allowed_is_refused_and_stores_nothing(api, made, assert_problem):
    task = await made.task()
    answer = await made.upload(task, Origin=SHOP)
    problem = assert_problem(answer, 403, "origin-not-allowed")
    assert "access-control-allow-origin" not in answer.headers
    assert SHOP in problem["detail"]
    assert (await api.get(f"/tasks/{task['fid']}")).json()["payload"]["docs"] == 0


async def test_the_body_of_a_refused_request_reaches_nobody(api, made):
    task = await made.task()
    sent = []

    async def body():
        sent.append(1)
        yield b'{"id": "a"}\n'

    answer = await api.post(
        f"/actions/tasks/{task['fid']}/upload", content=body(), headers={"Origin": SHOP, "Expect": "100-continue"}
    )
    # Who waits for 100-continue is answered before it has sent anything.
    assert (answer.status_code, sent) == (403, [])


@pytest.mark.parametrize("action", ["upload", "status", "log"])
async def test_the_endpoints_of_a_task_answer_preflights_of_all_origins(api, made, action):
    path = await _begun(made)
    asked = PREFLIGHT | {"Access-Control-Request-Headers": "content-type,content-encoding,idempotency-key"}
    answer = await api.options(f"{path}/{action}", headers=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "*, Authorization"


async def test_a_path_without_a_token_is_not_open_to_all_origins(api, made, assert_problem):
    task = await made.task()
    answer = await api.options(f"/actions/tasks/{task['fid']}/upload", headers=PREFLIGHT)
    assert_problem(answer, 403, "origin-not-allowed")


async def test_errors_can_be_read_by_a_page_too(api, made):
    path = await _begun(made)
    for url in (f"{path}/upload", f"{path[:-1]}/upload", "/actions/tasks/x.y/status"):
        answer = await api.post(url, content=b"{", headers={"Origin": SHOP})
        assert answer.status_code in {400, 401, 404}
        assert answer.headers["access-control-allow-origin"] == "*"
        exposed = answer.headers["access-control-expose-headers"]
        assert all(name in exposed for name in ("Location", "Retry-After", "ETag", "Link", "Idempotency-Replayed"))


async def test_an_origin_that_is_named_may_call_all(api):
    named = {"Origin": "https://console.example"}
    assert (await api.options("/streams", headers=PREFLIGHT | named)).status_code == 204
    answer = await api.post("/streams", json={}, headers=named)
    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] == "https://console.example"
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("origin", ["http://headwater.test", "https://headwater.test"])
async def test_the_servers_own_origin_may_call_all(api, origin):
    assert (await api.post("/streams", json={}, headers={"Origin": origin})).status_code == 201


@pytest.mark.parametrize("origin", ["null", "", "headwater.test", "http://headwater.test.evil.example", "http://["])
async def test_what_only_looks_like_the_servers_own_origin_may_not(api, origin, assert_problem):
    assert_problem(await api.post("/streams", json={}, headers={"Origin": origin}), 403, "origin-not-allowed")


async def test_a_page_of_any_origin_may_ask_what_it_cannot_read(api):
    answer = await api.get("/streams", headers={"Origin": SHOP})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


async def test_options_that_is_no_preflight_is_routed(api, assert_problem):
    assert_problem(await api.options("/streams"), 405, "method-not-allowed")


@pytest.mark.parametrize(
    ("host", "origin", "is_own"),
    [
        (b"hw.example", "https://hw.example", True),
        (b"hw.example:443", "https://hw.example", True),
        (b"hw.example:8080", "http://hw.example:8080", True),
        (b"hw.example:8080", "http://hw.example", False),
        (b"inside:8080", "https://public.example", True),
        (b"inside:8080", "http://public.example", False),
    ],
)
def test_the_own_origin_is_that_of_the_host_or_of_the_public_url(host, origin, is_own):
    policy = CorsPolicy(origins=(), public_url="https://public.example")
    scope = {"path": "/streams", "headers": [(b"host", host)]}
    assert (policy.allowed_origin(scope, origin.encode()) is not None) == is_own


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (SHOP, True),
        ("http://localhost:5173", True),
        ("http://[::1]:8080", True),
        ("chrome-extension://abcdef", True),
        ("https://shop.example/", False),
        ("https://shop.example:443", False),
        ("https://Shop.example", False),
        ("shop.example", False),
        ("http://x:99999", False),
    ],
)
def test_an_origin_is_written_as_browsers_send_it(text, right):
    assert is_origin(text) == right
