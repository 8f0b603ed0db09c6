"""Uploading a task's documents, beyond what the table of exchanges holds."""

from __future__ import annotations

import logging
import time

import anyio
import httpx
import pytest

from headwater_client import (
    AsyncTaskWriter,
    DocumentRejected,
    NotJson,
    Problem,
    TaskGone,
    TaskWriter,
    Unavailable,
    WriterClosed,
)
from uploading import ENDPOINT, Server


def _problem(status: int, kind: str, **members: object) -> httpx.Response:
    return httpx.Response(status, json={"type": f"https://headwater.dev/problems/{kind}", "detail": kind, **members})


@pytest.fixture
def server() -> Server:
    return Server()


def _writer(server: Server, **options: object) -> TaskWriter:
    return TaskWriter(ENDPOINT, transport=server, **{"max_seconds": 60, **options})


def test_leaving_the_block_uploads_and_closes_with_200(server):
    with _writer(server) as writer:
        writer.write_all({"id": n} for n in range(3))
    assert (writer.written, writer.taken) == (3, 3)
    assert server.lines == [b'{"id":0}', b'{"id":1}', b'{"id":2}']
    assert server.statuses == [{"code": 200}]


def test_the_token_goes_into_a_header_and_the_rest_of_the_path_stays(server):
    with _writer(server) as writer:
        writer.write({"id": 1})
    assert {request.url.path for request in server.requests} == {
        "/base/actions/tasks/0197/upload",
        "/base/actions/tasks/0197/status",
    }
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer secret"}


def test_a_token_beside_the_endpoint_is_taken(server):
    with TaskWriter("http://127.0.0.1/actions/tasks/0197", "other", transport=server):
        pass
    assert server.requests[0].headers["authorization"] == "Bearer other"


@pytest.mark.parametrize(
    "endpoint", ["", "0197.secret", "http://x/tasks/0197.secret", "ftp://x/actions/tasks/0.secret"]
)
def test_what_is_no_endpoint_is_refused_without_telling_the_token(endpoint):
    with pytest.raises(ValueError, match="looks like") as raised:
        TaskWriter(endpoint)
    assert "secret" not in str(raised.value)


def test_a_block_that_raises_closes_with_500_and_the_traceback_after_what_was_written(server):
    def crawl() -> None:
        with _writer(server) as writer:
            writer.write({"id": 1})
            raise LookupError("page 7 is gone")

    with pytest.raises(LookupError):
        crawl()
    assert server.lines == [b'{"id":1}']
    (status,) = server.statuses
    assert (status["code"], status["message"]) == (500, "LookupError: page 7 is gone")
    assert 'raise LookupError("page 7 is gone")' in status["detail"]["traceback"]


def test_an_interrupted_program_closes_its_task_too(server):
    def crawl() -> None:
        with _writer(server):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crawl()
    assert [(status["code"], status["message"]) for status in server.statuses] == [(500, "KeyboardInterrupt")]


def test_who_interrupts_does_not_wait_for_a_server_that_is_not_there(server):
    def answer(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    server.answer = answer
    writer = _writer(server)
    writer.write({"id": 1})
    began = time.monotonic()
    writer.fail(KeyboardInterrupt())
    assert time.monotonic() - began < 60  # and not the ten minutes of an upload's patience


def test_a_rejected_document_ends_the_block_with_500(server):
    error = {"line": 2, "pointer": "/price", "detail": '"free" is no number'}
    server.answer = lambda request: (
        _problem(406, "document-invalid", errors=[error]) if request.url.path.endswith("upload") else None
    )

    def crawl() -> None:
        with _writer(server) as writer:
            writer.write_all([{"price": 1}, {"price": "free"}])

    with pytest.raises(DocumentRejected) as raised:
        crawl()
    assert (raised.value.document, raised.value.line, raised.value.pointer) == ({"price": "free"}, 2, "/price")
    assert raised.value.errors == (error,)
    assert [status["code"] for status in server.statuses] == [500]


def test_the_document_of_an_upload_that_was_not_compressed_is_found_too(server):
    server.answer = lambda _request: _problem(400, "upload-broken", errors=[{"line": 1, "detail": "no JSON"}])
    writer = _writer(server, compress=False)
    writer.write_line(b"{broken}\n")
    with pytest.raises(DocumentRejected) as raised:
        writer.flush()
    assert raised.value.document == "{broken}"
    writer.abandon()


def test_a_task_that_is_gone_ends_the_block_and_is_told_nothing_more(server):
    server.answer = lambda _request: _problem(404, "not-found")

    def crawl() -> None:
        with _writer(server, max_bytes=20) as writer:
            for number in range(1000):
                writer.write({"id": number})

    with pytest.raises(TaskGone) as raised:
        crawl()
    assert isinstance(raised.value.__cause__, Problem)
    assert server.statuses == []


def test_a_writer_is_at_most_three_buffers_ahead_of_the_server(server):
    server.open.clear()
    writer = _writer(server, max_bytes=100)
    sent = 0
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        sent += writer.offer_line(b'{"id":1}\n')
    assert sent <= 4 * 11  # one that fills, one that is packed, one that waits, one that is sent
    server.open.set()
    writer.close()


def test_a_document_that_cannot_be_json_is_refused_and_the_writer_goes_on(server):
    with _writer(server) as writer:
        with pytest.raises(NotJson):
            writer.write({"id": {1, 2}, "price": float("nan")})
        writer.write({"id": 1})
    assert server.lines == [b'{"id":1}']


def test_documents_do_not_wait_for_others_longer_than_they_must(server):
    with _writer(server, max_seconds=0.01) as writer:
        writer.write({"id": 1})
        until = time.monotonic() + 10
        while not writer.taken and time.monotonic() < until:
            time.sleep(0.01)
        assert writer.taken == 1


def test_patience_ends_with_what_came_last(server):
    server.answer = lambda _request: _problem(500, "internal", detail="Headwater failed")
    writer = _writer(server, retry_for=0)
    writer.write({"id": 1})
    with pytest.raises(Unavailable, match="was tried once: Headwater failed") as raised:
        writer.flush()
    assert isinstance(raised.value.__cause__, Problem)
    writer.abandon()


def test_each_try_has_the_same_key_and_the_samebody_of(server):
    answers = iter([httpx.Response(503, headers={"Retry-After": "0"}), httpx.Response(502), None])
    server.answer = lambda request: next(answers) if request.url.path.endswith("upload") else None
    with _writer(server) as writer:
        writer.write({"id": 1})
    uploads = [request for request in server.requests if request.url.path.endswith("upload")]
    assert len(uploads) == 3
    assert len({upload.headers["idempotency-key"] for upload in uploads}) == 1
    assert len({upload.content for upload in uploads}) == 1


def test_an_error_of_another_kind_bears_its_name(server):
    server.answer = lambda _request: _problem(413, "document-too-large")
    writer = _writer(server)
    writer.write({"id": 1})
    with pytest.raises(Problem) as raised:
        writer.flush()
    assert (type(raised.value).__name__, raised.value.status) == ("DocumentTooLarge", 413)
    writer.abandon()


def test_a_status_that_ends_the_task_closes_the_writer(server):
    writer = _writer(server)
    writer.write({"id": 1})
    assert writer.status(503, "the source is down").state == "done"
    with pytest.raises(WriterClosed):
        writer.write({"id": 2})
    writer.close()
    assert [request.url.path.rpartition("/")[2] for request in server.requests] == ["upload", "status"]


def test_an_abandoned_writer_sends_nothing(server):
    writer = _writer(server)
    writer.write({"id": 1})
    writer.abandon()
    with pytest.raises(WriterClosed):
        writer.write({"id": 2})
    assert server.requests == []


async def test_the_awaited_writer_does_the_same(server):
    async def pages():
        yield {"id": 2}

    async with AsyncTaskWriter(ENDPOINT, transport=server, max_seconds=60, max_bytes=20) as writer:
        await writer.write({"id": 0})
        await writer.write_all([{"id": 1}])
        await writer.write_all(pages())
        await writer.status(102, "half way")
        await writer.flush()
        assert (writer.fid, writer.written, writer.taken) == ("0197", 3, 3)
    assert server.lines == [b'{"id":0}', b'{"id":1}', b'{"id":2}']
    assert [status["code"] for status in server.statuses] == [102, 200]


async def test_an_awaited_block_that_raises_closes_with_500(server):
    async def crawl() -> None:
        async with AsyncTaskWriter(ENDPOINT, transport=server) as writer:
            await writer.write({"id": 1})
            raise LookupError("page 7")

    with pytest.raises(LookupError):
        await crawl()
    assert [status["code"] for status in server.statuses] == [500]


async def test_an_awaited_writer_whose_task_is_gone_says_so(server):
    server.answer = lambda _request: _problem(409, "task-closed")

    async def crawl() -> None:
        async with AsyncTaskWriter(ENDPOINT, transport=server, max_bytes=20) as writer:
            while True:
                await writer.write({"id": 1})

    with pytest.raises(TaskGone):
        await crawl()


def test_no_log_holds_the_token(server, caplog):
    with caplog.at_level(logging.DEBUG), _writer(server) as writer:
        writer.write({"id": 1})
    assert "secret" not in caplog.text
    assert "secret" not in repr(writer)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_the_awaited_writer_runs_on_both_loops(server, loop):
    async def crawl() -> None:
        async with AsyncTaskWriter(ENDPOINT, transport=server, max_bytes=20) as writer:
            for number in range(10):
                await writer.write({"id": number})

    anyio.run(crawl, backend=loop)
    assert len(server.lines) == 10
