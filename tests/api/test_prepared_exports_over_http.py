"""Exports that are prepared once, and downloaded by parts."""

from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.streams.prepared_exports import KEPT, MOST
from lakes import needs_directory


@pytest.fixture
async def crawler(made) -> dict:
    crawler = await made.crawler()
    await made.done(crawler, b'{"id": "a", "n": 1}\n{"id": "b", "n": 2}\n')
    return crawler


async def _prepared(api, crawler: dict, query: str = "") -> dict:
    answer = await api.post(f"/actions/streams/{crawler['stream']}/export{query}")
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == answer.json()["payload"]["path"]
    return answer.json()["payload"]


async def test_a_prepared_export_is_downloaded_whole_and_by_parts(api, made, crawler):
    export = await _prepared(api, crawler)
    await made.done(crawler, b'{"id": "c"}\n')
    lines = b'{"id": "a", "n": 1}\n{"id": "b", "n": 2}\n'
    whole = await api.get(export["path"])
    assert (whole.status_code, whole.content) == (200, lines)
    assert (whole.headers["etag"], whole.headers["accept-ranges"]) == (f'"{export["fid"]}"', "bytes")
    assert int(whole.headers["content-length"]) == export["size"] == len(lines)
    assert whole.headers["content-disposition"].endswith('.ndjson"')
    part = await api.get(export["path"], headers={"Range": "bytes=5-9", "If-Range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, lines[5:10])
    assert part.headers["content-range"] == f"bytes 5-9/{len(lines)}"
    head = await api.head(export["path"])
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(lines)))
    assert (await api.get(export["path"], headers={"Range": "bytes=900-"})).status_code == 416


async def test_it_takes_what_an_export_takes(api, crawler):
    export = await _prepared(api, crawler, "?format=parquet&columns=infer&document=false&where=n>=2")
    table = pq.read_table(pa.BufferReader((await api.get(export["path"])).content))
    assert table.column("id").to_pylist() == ["b"]
    assert (await api.post(f"/actions/streams/{crawler['stream']}/export?format=pdf")).status_code == 400
    assert (await api.post(f"/actions/streams/{'f' * 32}/export")).status_code == 404


@needs_directory
async def test_it_is_gone_after_a_day_and_after_an_erasure(api, made, crawler, assert_problem):
    exports = api.app.state.services.prepared_exports
    at = api.app.state.services.clock()
    export = await _prepared(api, crawler)
    found, file = await exports.find(crawler["stream"], export["fid"], at=at)
    assert found.expires_at - found.created_at == KEPT
    assert await exports.sweep(at) == 0
    assert await exports.sweep(at + KEPT + timedelta(minutes=1)) == 2
    assert_problem(await api.get(export["path"]), 404, "not-found")
    erased = await _prepared(api, crawler)
    kept = await made.crawler()
    other = await _prepared(api, kept)
    assert (await api.delete(f"/streams/{crawler['stream']}/docs/a")).status_code == 200
    assert_problem(await api.get(erased["path"]), 404, "not-found")
    assert not file.path.exists()
    assert (await api.get(other["path"])).status_code == 200
    assert_problem(await api.get(other["path"].replace(kept["stream"], crawler["stream"])), 404, "not-found")
    await api.delete(f"/streams/{kept['stream']}?cascade=true")
    assert_problem(await api.get(other["path"]), 404, "not-found")


async def test_the_oldest_of_a_stream_go_first(api, crawler):
    first = await _prepared(api, crawler)
    for _ in range(MOST):
        last = await _prepared(api, crawler)
    assert (await api.get(first["path"])).status_code == 404
    assert (await api.get(last["path"])).status_code == 200
