"""Whatever ends a block, its task is closed, or it is told that it is open."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

import httpx
import pytest

from headwater_client import TaskWriter
from uploading import ENDPOINT, Server


class Broken(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")


class Stop(BaseException):
    """Ends a program, past ``except Exception``."""


@pytest.fixture
def server() -> Server:
    return Server()


def _writer(server: Server, **options: object) -> TaskWriter:
    return TaskWriter(ENDPOINT, transport=server, **{"max_seconds": 60, "retry_for": 0.0, **options})


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a\0b"),
        ValueError("\ud83d"),
        ValueError("x" * 100_000),
        Broken(),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        Stop("\0"),
        RecursionError("\udfff"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_block_that_raises_closes_its_task_and_raises_the_same(server, error):
    def block() -> None:
        with _writer(server) as writer:
            writer.write({"id": 1})
            raise error

    with pytest.raises(type(error)) as raised:
        block()
    assert raised.value is error
    (status,) = server.statuses
    assert status["code"] == 500
    assert "\0" not in status["message"]
    assert len(status["message"]) <= 1000
    assert server.lines == [b'{"id":1}']


def test_an_error_of_a_generator_closes_the_task(server):
    def documents():
        yield {"id": 1}
        raise ValueError("\ud83d")

    with pytest.raises(ValueError, match="\ud83d"), _writer(server) as writer:
        writer.write_all(documents())
    assert [status["code"] for status in server.statuses] == [500]


@pytest.mark.parametrize("code", [102, 200, 500])
def test_a_report_holds_whatever_it_is_given(server, code):
    writer = _writer(server)
    writer.status(code, "a\0\ud800", {"x": float("nan"), 404: {2, 1}, "self": object})
    writer.abandon()
    (status,) = server.statuses
    assert status["message"] == "a\ufffd\ufffd"
    assert status["detail"]["404"] == [1, 2]


@pytest.mark.parametrize("status", [400, 413])
def test_a_report_that_is_not_taken_is_made_without_its_texts(server, status):
    def answer(request: httpx.Request) -> httpx.Response | None:
        is_long = request.url.path.endswith("status") and b"detail" in request.content
        return httpx.Response(status, json={"detail": "no"}) if is_long else None

    server.answer = answer
    with pytest.raises(ValueError, match="x"), _writer(server):
        raise ValueError("x")
    assert server.statuses[-1] == {"code": 500, "message": "ValueError"}


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, json={"detail": "down"}),
        httpx.Response(403, json={"detail": "not yours"}),
        httpx.Response(200, text="<html>welcome to our network</html>"),
        httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip")),
    ],
    ids=["down", "forbidden", "another page", "broken"],
)
def test_a_task_that_cannot_be_closed_is_told_with_how_to_close_it(server, caplog, answer):
    server.answer = lambda _request: answer

    def block() -> None:
        with _writer(server) as writer:
            writer.write({"id": 1})
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        block()
    assert "task 0197 could not be closed" in caplog.text
    assert "headwater tasks stop 0197" in caplog.text


def test_a_close_that_fails_closes_the_task_as_failed(server):
    def answer(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(400, json={"detail": "no"}) if b'"code":200' in request.content else None

    server.answer = answer
    with pytest.raises(Exception, match="no"), _writer(server):
        pass
    assert [status["code"] for status in server.statuses] == [200, 500]


def test_a_program_that_forgets_to_close_its_writer_uploads_what_it_wrote_and_is_told():
    program = """
        import sys
        sys.path.insert(0, {tests!r})
        from headwater_client import TaskWriter
        from uploading import ENDPOINT, Server

        class Told(Server):
            def handle_request(self, request):
                print(request.method, request.url.path)
                return super().handle_request(request)

        writer = TaskWriter(ENDPOINT, transport=Told(), max_seconds=60)
        writer.write({{"id": 1}})
        {end}
    """
    tests = __file__.rpartition("/")[0]
    for end, is_told in (("pass", True), ("writer.abandon()", False), ("writer.close()", False)):
        source = textwrap.dedent(program.format(tests=tests, end=end))
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
        assert ("task 0197 was not closed by this program" in done.stderr) is is_told
        assert done.stdout.count("/upload") == (0 if end == "writer.abandon()" else 1)
