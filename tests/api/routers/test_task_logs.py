from datetime import timedelta
from urllib.parse import urljoin

import httpx
import pytest

from headwater.streams.retention import Retention
from lakes import needs_directory


async def _write(api, task, body: bytes, **headers):
    return await api.post(f"/actions/tasks/{task['fid']}/log", content=body, headers=headers)


async def _texts(api, task, query: str = "") -> list[str]:
    return [line["text"] for line in (await api.get(f"/tasks/{task['fid']}/log?{query}")).json()["payload"]]


LINES = b'plain\n{"text": "slow", "level": "warning", "ms": 900}\n{"text": "Gone", "level": "error"}\n'


async def test_a_log_is_kept_in_order_and_read_by_level_and_text(api, made):
    task = await made.task()
    answer = await _write(api, task, LINES)
    assert (answer.status_code, answer.json()["payload"]) == (202, {"lines": 3, "dropped": 0})
    page = (await api.get(f"/tasks/{task['fid']}/log")).json()
    assert [(line["level"], line["text"]) for line in page["payload"]] == [
        ("info", "plain"),
        ("warning", "slow"),
        ("error", "Gone"),
    ]
    assert page["payload"][1]["ms"] == 900
    assert (page["lines"], page["dropped"], page["next_cursor"]) == (3, 0, None)
    assert await _texts(api, task, "level=warning") == ["slow", "Gone"]
    assert await _texts(api, task, "q=gone") == ["Gone"]
    assert await _texts(api, task, "tail=1") == ["Gone"]
    # What comes later is read from there.
    await _write(api, task, b"later\n")
    assert await _texts(api, task, f"cursor={page['position']}") == ["later"]


async def test_a_log_is_read_page_by_page(api, made):
    task = await made.task()
    await _write(api, task, b"".join(b"line %d\n" % number for number in range(25)))
    url, found = f"/tasks/{task['fid']}/log?limit=10", []
    while url:
        answer = await api.get(url)
        found += [line["text"] for line in answer.json()["payload"]]
        url = "link" in answer.headers and urljoin(url, answer.headers["link"].partition(">")[0][1:])
    assert found == [f"line {number}" for number in range(25)]


async def test_an_ec_writes_its_log_with_its_token_also_after_the_end(api, made):
    task = await made.task()
    api.headers.pop("authorization")
    endpoint = httpx.URL(task["upload"]["endpoint"]).path
    assert (await api.post(f"{endpoint}/status", json={"code": 500})).status_code == 200
    assert (await api.post(f"{endpoint}/log", content=b"Traceback")).status_code == 202
    assert (await api.post(f"{endpoint[:-2]}/log", content=b"x")).status_code == 401
    assert (await api.get(f"/tasks/{task['fid']}/log")).status_code == 401


async def test_each_attempt_has_a_log_of_its_own(api, made):
    task = await made.task()
    await _write(api, task, b"first\n")
    await api.post(f"/actions/tasks/{task['fid']}/status", json={"code": 500})
    await api.post(f"/actions/crawlers/{task['crawler']}/task/{task['fid']}")
    await _write(api, task, b"second\n")
    assert await _texts(api, task) == ["second"]
    assert await _texts(api, task, "attempt=1") == ["first"]
    assert await _texts(api, task, "attempt=7") == []


async def test_secrets_that_the_crawler_was_sent_are_not_kept(api, made):
    parameters = [{"name": "password", "type": "password"}]
    external = await made.external(parameters=parameters)
    task = await made.task(await made.crawler(external, params={"password": "open sesame"}))
    token = task["upload"]["token"]
    await _write(api, task, f'open sesame\n{{"text": "x", "url": "/{token}/"}}\n'.encode())
    stored = (await api.get(f"/tasks/{task['fid']}/log")).text
    assert "sesame" not in stored
    assert token not in stored


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"Content-Type": "multipart/form-data; boundary=x"}, "content-type-unknown"),
        ({"Content-Encoding": "gzip"}, "encoding-unknown"),
    ],
)
async def test_a_log_in_parts_or_compressed_is_not_understood(api, made, headers, kind, assert_problem):
    assert_problem(await _write(api, await made.task(), b"x", **headers), 415, kind)


async def test_a_log_is_bounded_and_errors_have_room_left(api, made, monkeypatch):
    writer = api.app.state.services.task_log_writer
    monkeypatch.setattr(writer, "_most", type(writer._most)(task="", attempt=0, lines=16, bytes=1 << 20))  # noqa: SLF001
    task = await made.task()
    answer = await _write(api, task, b"line\n" * 20 + b'{"text": "boom", "level": "error"}\n' * 3)
    assert answer.json()["payload"] == {"lines": 16, "dropped": 7}
    assert (await _texts(api, task))[-2:] == ["line", "boom"]
    page = (await api.get(f"/tasks/{task['fid']}/log")).json()
    assert (page["lines"], page["dropped"]) == (16, 7)


@needs_directory
async def test_a_log_goes_with_the_purge_of_its_task(api, made):
    parts = api.app.state.services
    crawler = await made.crawler()
    kept = await made.task(crawler)
    await _write(api, kept, b"kept\n")
    await api.post(f"/actions/tasks/{kept['fid']}/status", json={"code": 200})
    gone = await made.task(crawler)
    await _write(api, gone, b"gone\n")
    await api.delete(f"/actions/tasks/{gone['fid']}")
    assert await _texts(api, gone) == ["gone"]
    retention = Retention(parts.db, parts.store, keep=timedelta(0), clock=parts.clock)
    now = parts.clock()
    await retention.purge(before=now, at=now, leave=timedelta(0))
    await retention.delete_garbage(at=now + timedelta(hours=2))
    assert await _texts(api, gone) == []
    assert await _texts(api, kept) == ["kept"]
    files = [path.name for path in (parts.store.root / "logs").rglob("*.ndjson")]
    assert len(files) == 1
    await api.delete(f"/crawlers/{crawler['fid']}?cascade=true")
    await retention.delete_garbage(at=now + timedelta(hours=2))
    assert list((parts.store.root / "logs").rglob("*.ndjson")) == []
