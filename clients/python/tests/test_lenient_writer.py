"""A writer that goes on where lines are no documents."""

from __future__ import annotations

import anyio
import httpx

from headwater_client import AsyncTaskWriter, TaskWriter
from uploading import ENDPOINT, Server


def _lenient(rejected: int, *errors: dict) -> httpx.Response:
    payload = {"count": 3 - rejected, "total": 3 - rejected, "bytes": 1, "rejected": rejected, "errors": list(errors)}
    return httpx.Response(200, json={"success": True, "payload": {**payload, "truncated": False}})


def test_a_lenient_writer_goes_on_and_tells_what_was_left_aside():
    server, told = Server(), []
    error = {"line": 2, "doc_id": "b", "pointer": "/n", "detail": "no"}
    server.answer = lambda request: _lenient(1, error) if request.url.path.endswith("upload") else None
    with TaskWriter(ENDPOINT, transport=server, lenient=True, on_rejected=told.append) as writer:
        writer.write_all([{"id": name} for name in "abc"])
        writer.flush()
        assert (writer.written, writer.taken, writer.rejected) == (3, 2, 1)
        assert told == writer.rejections == [error]
    assert server.requests[0].headers["prefer"] == "handling=lenient"
    assert server.statuses == [{"code": 200}]


def test_what_was_left_aside_is_counted_wholly_and_told_a_hundred_times_at_most():
    server = Server()
    server.answer = lambda request: (
        _lenient(3, *({"line": n} for n in range(60))) if request.url.path.endswith("upload") else None
    )
    with TaskWriter(ENDPOINT, transport=server, lenient=True) as writer:
        for _ in range(3):
            writer.write_all([{"id": name} for name in "abc"])
            writer.flush()
    assert (writer.taken, writer.rejected, len(writer.rejections)) == (0, 9, 100)


def test_a_strict_writer_asks_for_no_preference():
    server = Server()
    with TaskWriter(ENDPOINT, transport=server) as writer:
        writer.write({"id": "a"})
    assert "prefer" not in server.requests[0].headers
    assert (writer.rejected, writer.rejections) == (0, [])


def test_what_was_left_aside_counts_in_the_number_of_the_document_that_an_upload_begins_with():
    server = Server()
    server.answer = lambda request: _lenient(1, {"line": 1}) if request.url.path.endswith("upload") else None
    with TaskWriter(ENDPOINT, transport=server, lenient=True, upload_key="from-{}".format) as writer:
        for _ in range(2):
            writer.write_all([{"id": name} for name in "abc"])
            writer.flush()
    assert [request.headers["idempotency-key"] for request in server.requests[:2]] == ["from-0", "from-3"]


def test_an_awaited_writer_tells_what_was_left_aside_as_well():
    async def crawl() -> None:
        server = Server()
        error = {"line": 2, "doc_id": "b", "pointer": "/n", "detail": "no"}
        server.answer = lambda request: _lenient(1, error) if request.url.path.endswith("upload") else None
        async with AsyncTaskWriter(ENDPOINT, transport=server, lenient=True) as writer:
            await writer.write_all([{"id": name} for name in "abc"])
            await writer.flush()
            assert (writer.taken, writer.rejected, writer.rejections) == (2, 1, [error])

    anyio.run(crawl)
