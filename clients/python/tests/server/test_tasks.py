"""The life of a task on a crawler's server."""

import asyncio
import logging
import threading

import pytest

from headwater_client import TaskGone
from server.calling import until

GONE = (404, {"type": "https://headwater.dev/problems/not-found", "detail": "the task was deleted"})


async def test_a_task_is_answered_at_once_with_where_to_tell_its_end(call, gate):
    async def crawl(_task):
        await gate.wait()

    answer = await call(crawl).start()

    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "payload": {"callback": "/task/f1", "status": {"code": 102, "message": "begun"}},
    }


async def test_what_a_coroutine_function_writes_is_uploaded_and_the_task_closed_as_done(call, headwater):
    async def crawl(task):
        await task.write({"id": "a"})
        await task.write_all([{"id": "b"}, {"id": "c"}])
        await task.status(102, "half way", {"page": 1})

    await call(crawl).start()

    assert (await headwater.closed())["code"] == 200
    assert headwater.documents() == [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    assert headwater.statuses()[0] == {"code": 102, "message": "half way", "detail": {"page": 1}}
    assert {heard.token for heard in headwater.heard} == {"t1"}


async def test_what_a_plain_function_writes_is_uploaded_and_the_task_closed_as_done(call, headwater):
    def crawl(task):
        task.write({"thread": threading.current_thread().name})
        task.write_all([{"id": "b"}])
        task.status(102, "half way")

    await call(crawl).start()

    assert (await headwater.closed())["code"] == 200
    assert headwater.documents() == [{"thread": "task-f1"}, {"id": "b"}]


async def test_an_object_that_is_called_like_a_coroutine_function_is_awaited(call, headwater):
    class Crawl:
        async def __call__(self, task):
            await task.write({"id": "a"})

    await call(Crawl()).start()

    assert (await headwater.closed())["code"] == 200
    assert headwater.documents() == [{"id": "a"}]


async def test_a_function_is_told_all_of_the_order(call, headwater):
    seen = []

    async def crawl(task):
        seen.append((task.fid, task.params, task.credential, task.version, task.is_over, task.writer.fid))

    await call(crawl).start(params={"shop": "x"}, credential={"user": "jo", "password": "p"}, version=7)
    await headwater.closed()

    assert seen == [("f1", {"shop": "x"}, {"user": "jo", "password": "p"}, 7, False, "f1")]


async def awaited_failure(task):
    await task.write({"id": "a"})
    raise RuntimeError("the shop is closed")


def plain_failure(task):
    task.write({"id": "a"})
    raise RuntimeError("the shop is closed")


def ending_the_process(task):
    task.write({"id": "a"})
    raise SystemExit("the shop is closed")


@pytest.mark.parametrize("crawl", [awaited_failure, plain_failure, ending_the_process])
async def test_a_function_that_raises_fails_the_task_with_its_traceback_after_what_it_wrote(call, headwater, crawl):
    await call(crawl).start()
    closed = await headwater.closed()

    assert closed["code"] == 500
    assert closed["message"].endswith("the shop is closed")
    assert crawl.__name__ in closed["detail"]["traceback"]
    assert [heard.what for heard in headwater.heard] == ["upload", "status"]


async def test_a_cancellation_of_its_own_making_fails_the_task(call, headwater):
    async def crawl(_task):
        raise asyncio.CancelledError

    caller = call(crawl)
    await caller.start()

    assert (await headwater.closed())["code"] == 500
    await caller.idle()


async def test_after_a_function_has_closed_its_task_nothing_more_is_sent(call, headwater):
    async def crawl(task):
        await task.write({"id": "a"})
        await task.status(503, "the shop is closed")

    caller = call(crawl)
    await caller.start()
    await caller.idle()

    assert headwater.codes() == [503]
    assert headwater.documents() == [{"id": "a"}]


async def test_a_document_that_is_refused_at_the_very_end_fails_the_task(call, headwater):
    problem = {"type": "https://headwater.dev/problems/document-invalid", "detail": "no", "errors": [{"line": 1}]}
    headwater.answer = lambda heard: (406, problem) if heard.what == "upload" else None

    async def crawl(task):
        await task.write({"id": 1})

    await call(crawl).start()
    closed = await headwater.closed()

    assert closed["code"] == 500
    assert "DocumentRejected" in closed["message"]


@pytest.mark.parametrize("what", ["upload", "status"])
async def test_a_task_that_is_gone_ends_a_coroutine_function_without_a_word(call, headwater, what):
    headwater.answer = lambda heard: GONE if heard.what == what else None
    raised = []

    async def crawl(task):
        try:
            while True:
                await task.write({"id": "a"})
                await task.writer.flush()
                await task.status(102)
        except TaskGone as error:
            raised.append(error)
            raise

    caller = call(crawl)
    await caller.start()
    await caller.idle()

    assert len(raised) == 1
    assert headwater.codes() == ([102] if what == "status" else [])


@pytest.mark.parametrize("what", ["upload", "status"])
async def test_a_task_that_is_gone_ends_a_plain_function_without_a_word(call, headwater, what):
    headwater.answer = lambda heard: GONE if heard.what == what else None

    def crawl(task):
        while True:
            task.write({"id": "a"})
            task.writer.flush()
            task.status(102)

    caller = call(crawl)
    await caller.start()
    await caller.idle()

    assert headwater.codes() == ([102] if what == "status" else [])


async def test_the_same_order_again_is_answered_as_before_and_starts_nothing(call, headwater, gate):
    began = []

    async def crawl(_task):
        began.append(1)
        await gate.wait()

    caller = call(crawl)
    first, second = await caller.start(), await caller.start()
    gate.open()
    await headwater.closed()
    await caller.idle()
    third = await caller.start()
    await caller.idle()

    assert first.json() == second.json() == third.json()
    assert len(began) == 1
    assert headwater.codes() == [200]


async def test_a_retry_ends_the_former_attempt_without_a_word_and_starts_anew(call, headwater, gate):
    attempts = []

    async def crawl(task):
        attempts.append("begun")
        await task.write({"attempt": len(attempts)})
        if len(attempts) == 1:
            try:
                await gate.wait()
            finally:
                attempts.append("cancelled")

    caller = call(crawl, concurrency=1)
    await caller.start(token="t1")
    await until(gate.reached.is_set)
    await caller.start(token="t2")
    await headwater.closed()
    await caller.idle()

    assert attempts == ["begun", "cancelled", "begun"]
    assert {heard.token for heard in headwater.heard} == {"t2"}
    assert headwater.documents() == [{"attempt": 3}]
    assert headwater.codes() == [102, 200]


async def test_a_late_order_of_a_former_attempt_starts_nothing(call, headwater, gate):
    async def crawl(task):
        await task.write({"token": "written"})
        await gate.wait()

    caller = call(crawl)
    await caller.start(token="t1")
    await caller.start(token="t2")
    await caller.start(token="t1")
    gate.open()
    await headwater.closed()
    await caller.idle()

    assert {heard.token for heard in headwater.heard} == {"t2"}


async def test_a_quick_source_lets_others_have_the_loop(call, headwater):
    async def crawl(task):
        while True:
            await task.write({"id": "a"})

    caller = call(crawl)
    await caller.start()
    async with asyncio.timeout(5):
        answer = await caller.end()
        await caller.idle()

    assert answer.status_code == 200
    assert 500 not in headwater.codes()


async def test_what_a_function_logs_is_in_the_log_of_its_task_and_of_no_other(call, headwater):
    logger = logging.getLogger("shop.crawl")
    logger.setLevel(logging.INFO)

    async def crawl(task):
        logger.info("page of %s", task.fid)
        await asyncio.to_thread(logger.warning, "in a thread of %s", task.fid)
        task.log("asked", pages=20)

    called = call(crawl)
    await called.start("f1")
    await called.start("f2")
    logger.info("of nobody")

    for fid in ("f1", "f2"):
        await headwater.closed(fid)
        logs = [heard for heard in headwater.heard if (heard.what, heard.fid) == ("log", fid)]
        lines = [(line["level"], line["text"]) for heard in logs for line in heard.documents]
        assert lines == [("info", f"page of {fid}"), ("warning", f"in a thread of {fid}"), ("info", "asked")]
