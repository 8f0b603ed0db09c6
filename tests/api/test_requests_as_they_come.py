"""What holds for requests whatever they ask for: their host, HEAD, and what of them is logged."""

import asyncio

import httpx
import pytest
import structlog

from headwater.api.request_ids import loggable, without_tokens

FID = "01a20a56341170f1a2af64d42b9672cf"
KEY = "hw_" + "aB3_-" * 8 + "xyz"


@pytest.mark.parametrize(
    "path",
    [
        "/events",
        "/events?feed=eventsource",
        "/events?feed=normal",
        "/streams/{stream}/changes?feed=eventsource",
        "/streams/{stream}/changes",
        "/streams/{stream}/export",
    ],
)
async def test_a_head_of_what_is_streamed_ends_with_its_header_which_is_that_of_get(api, made, path):
    task = await made.task()
    await made.upload(task)
    path = path.format(stream=task["stream"])
    async with asyncio.timeout(60):
        answer = await api.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    if "eventsource" not in path and path != "/events":
        got = await api.get(path)
        for name in ("content-type", "content-disposition", "vary"):
            assert answer.headers.get(name) == got.headers.get(name)


@pytest.mark.parametrize("form", ["ndjson", "csv", "parquet", "parquet&columns=infer"])
async def test_a_head_of_an_export_reads_no_document(api, made, form, monkeypatch):
    task = await made.task()
    await made.upload(task)

    def forbidden(*_arguments, **_named):
        raise AssertionError("documents are read")

    monkeypatch.setattr(api.app.state.services.reader, "batches", forbidden)
    answer = await api.head(f"/streams/{task['stream']}/export?format={form}")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment; ")


async def test_a_head_of_an_export_finds_the_faults_of_the_request(api, made):
    stream = await made.stream()
    assert (await api.head(f"/streams/{stream['fid']}/export?format=csv&columns=infer")).status_code == 400
    assert (await api.head("/streams/x/export")).status_code == 404


async def test_a_head_leaves_no_listener_behind(api):
    await api.head("/events")
    before = len(asyncio.all_tasks())
    for _ in range(30):
        async with asyncio.timeout(60):
            await api.head("/events")
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) < before + 15  # the loops of the server come and go


async def _raw(app, headers, *, version="1.1"):
    answered = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        answered.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": version,
        "method": "GET",
        "scheme": "http",
        "path": "/healthz",
        "raw_path": b"/healthz",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "server": ("x", 80),
        "client": ("y", 1),
    }
    await app(scope, receive, send)
    return answered[0]["status"], answered[1]["body"]


@pytest.mark.parametrize(
    ("hosts", "version", "status"),
    [
        ([b"headwater.test"], "1.1", 200),
        ([b"127.0.0.1:8080"], "1.1", 200),
        ([b"[::1]:8080"], "1.1", 200),
        ([], "1.1", 400),
        ([], "1.0", 200),
        ([b"a", b"b"], "1.1", 400),
        ([b"a", b"a"], "1.1", 400),
        ([b"a", b"b"], "1.0", 400),
        ([b""], "1.1", 400),
        ([b"a b"], "1.1", 400),
        ([b"a/b"], "1.1", 400),
        ([b"a@b"], "1.1", 400),
        ([b"a, b"], "1.1", 400),
        ([b"a:b"], "1.1", 400),
    ],
)
async def test_a_request_is_for_one_host(api, hosts, version, status):
    answered, body = await _raw(api.app, [(b"host", host) for host in hosts], version=version)
    assert answered == status
    assert (b"Host field" in body) == (status == 400)


@pytest.mark.parametrize(
    "path",
    [
        f"/{KEY}",
        f"/streams/{KEY}",
        f"/streams/{FID}/docs/{KEY}",
        f"/healthz/{KEY}",
        f"/Bearer {KEY}",
        f"/{KEY.upper()}",
        "/whsec_" + "aB3/" * 8,
        f"/{FID}." + "t" * 40,
        f"/actions/tasks/{FID}." + "t" * 40 + "/uplaod",
        "/sk_live_" + "0123456789abcdef" * 2,
        "/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg",
    ],
)
async def test_a_secret_in_a_wrong_path_is_neither_logged_nor_answered(api, path):
    with structlog.testing.capture_logs() as logged:
        answer = await api.get(httpx.URL(path))
    assert answer.status_code in {400, 404}
    secret = "t" * 40 if "uplaod" in path else "aB3/" * 8 if "whsec_" in path else path.rpartition("/")[2]
    (line,) = [line for line in logged if line["event"] == "http.answered"]
    assert secret[8:28] not in line["path"]
    assert "…" in line["path"]
    if path.startswith((f"/{KEY}", f"/streams/{KEY}")):
        assert KEY not in answer.text


def test_what_tells_no_secret_is_logged_as_it_is():
    for path in (f"/streams/{FID}", f"/streams/{FID}/docs", "/streams/hw_inventory_of_2026", "/nowhere/at/all"):
        assert loggable(path, is_known=True) == path
    assert loggable(f"/stream/{FID}", is_known=False) == f"/stream/{FID}"
    assert without_tokens("stream hw_inventory_of_2026 is in use") == "stream hw_inventory_of_2026 is in use"
