"""What is logged reaches the task's log, and never harms the crawl."""

from __future__ import annotations

import json
import logging

import httpx
import pytest

from headwater_client import TaskWriter
from headwater_client.log_stream import LogStream
from headwater_client.server.run_log import logged_to
from uploading import ENDPOINT, Server


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def logger():
    """A logger of its own, that passes nothing on."""
    found = logging.getLogger("shop.crawl")
    before = (found.propagate, found.level, found.handlers[:])
    found.propagate, found.level = False, logging.DEBUG
    yield found
    found.propagate, found.level, found.handlers[:] = before


def _writer(server: Server, **options: object) -> TaskWriter:
    return TaskWriter(ENDPOINT, transport=server, **{"max_seconds": 60, "retry_for": 0.0, **options})


def _logged(server: Server) -> list[dict]:
    requests = [request for request in server.requests if request.url.path.endswith("/log")]
    return [json.loads(line) for request in requests for line in request.content.splitlines()]


def test_lines_are_sent_before_the_task_is_closed(server):
    with _writer(server) as writer:
        writer.log("page 1", pages=20)
        writer.log("gone", "error", status=404)
    assert [(line["level"], line["text"]) for line in _logged(server)] == [("info", "page 1"), ("error", "gone")]
    assert _logged(server)[1]["status"] == 404
    assert [request.url.path.rpartition("/")[2] for request in server.requests] == ["log", "status"]


def test_records_of_logging_are_sent_with_level_logger_and_traceback(server, logger):
    with _writer(server) as writer:
        logger.addHandler(writer.log_handler(logging.INFO))
        logger.debug("not wanted")
        logger.warning("page %d is slow", 3)
        try:
            float("no price")
        except ValueError:
            logger.exception("broken")
    slow, broken = _logged(server)
    assert (slow["level"], slow["text"], slow["logger"]) == ("warning", "page 3 is slow", "shop.crawl")
    assert broken["level"] == "error"
    assert "ValueError: could not convert string to float" in broken["text"]


def test_a_failed_run_has_its_last_lines(server, logger):
    def crawl() -> None:
        with _writer(server) as writer:
            logger.addHandler(writer.log_handler())
            logger.info("just before")
            raise ValueError("no price")

    with pytest.raises(ValueError, match="no price"):
        crawl()
    assert [line["text"] for line in _logged(server)] == ["just before"]
    assert server.statuses[0]["code"] == 500


@pytest.mark.parametrize("status", [404, 405, 409, 413, 500])
def test_a_log_that_is_refused_harms_nothing(server, status):
    server.answer = lambda request: (
        httpx.Response(status, json={"type": "x", "detail": "no"}) if request.url.path.endswith("/log") else None
    )
    with _writer(server, retry_for=60.0) as writer:
        writer._log._transport.retry_for = type(writer._log._transport.retry_for)(seconds=0.0)  # noqa: SLF001
        writer.log("x")
        writer.write({"id": "a"})
    assert server.lines == [b'{"id":"a"}']
    assert server.statuses == [{"code": 200}]


def test_what_is_no_json_is_written_as_text(server):
    with _writer(server) as writer:
        writer.log("half \ud800", what=object(), when=b"x")
    (line,) = _logged(server)
    assert line["text"] == "half \ufffd"
    assert line["what"].startswith("<object object")


def test_lines_beyond_what_may_wait_are_dropped(server):
    server.open.clear()
    writer = _writer(server)
    for _ in range(100):
        writer.log("x" * 100_000)
    assert 40 <= writer._log.dropped <= 60  # noqa: SLF001
    server.open.set()
    writer.close()
    assert sum(len(line["text"]) for line in _logged(server)) == (100 - writer._log.dropped) * 100_000  # noqa: SLF001


def test_each_run_of_a_process_sends_what_it_logs_itself(logger):
    logger.propagate = True
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger.info("before")
    with logged_to(Keep(logging.INFO)):
        logger.info("within")
        logger.debug("not wanted")
    logger.info("after")
    assert found == ["within"]


def test_a_followed_log_resumes_and_ends():
    stream = LogStream("/tasks/a/log", {"level": "info"})
    text = b'id: 0\n\nid: 40\ndata: {"at":"2026-03-01T12:00:00Z","level":"info","text":"a","n":1}\n\n: keep-alive\n\n'
    (line,) = [line for piece in text.split(b"\n") for line in stream.take(piece)]
    assert (line.text, line.level, line.fields) == ("a", "info", {"n": 1})
    assert stream.call is not None
    assert stream.call.headers == {"Last-Event-ID": "40"}
    assert stream.call.params == {"level": "info", "follow": "true"}
    assert [*stream.take(b"event: end"), *stream.take(b"data: {}"), *stream.take(b"")] == []
    assert stream.call is None
