"""What the end of a task does to what works on it."""

import asyncio
import contextlib
import threading
import time

import httpx
import pytest

from headwater_client import TaskGone
from server.calling import until


async def test_the_end_cancels_a_coroutine_and_reports_nothing(call, headwater, gate):
    ended = []

    async def crawl(task):
        await task.write({"id": "a"})
        try:
            await gate.wait()
        finally:
            ended.append(task.is_over)

    caller = call(crawl)
    await caller.start()
    await until(gate.reached.is_set)
    answer = await caller.end()
    await caller.idle()

    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert ended == [True]
    assert headwater.heard == []


async def test_a_coroutine_that_survives_its_cancellation_is_refused_its_next_write(call, headwater, gate):
    errors = []

    async def crawl(task):
        with contextlib.suppress(asyncio.CancelledError):
            await gate.wait()
        try:
            await task.write({"id": "a"})
        except Exception as error:
            errors.append(type(error).__name__)
            raise

    caller = call(crawl)
    await caller.start()
    await until(gate.reached.is_set)
    await caller.end()
    await caller.idle()

    assert errors == ["TaskGone"]
    assert headwater.heard == []


@pytest.mark.parametrize("say", [lambda task: task.write({"id": "b"}), lambda task: task.status(102, "on")])
async def test_the_end_meets_a_plain_function_in_its_next_write_or_status(call, headwater, gate, say):
    raised = []

    def crawl(task):
        gate.pass_through()
        try:
            say(task)
        except TaskGone as error:
            raised.append(error)
            raise

    caller = call(crawl)
    await caller.start()
    await until(gate.reached.is_set)
    await caller.end()
    gate.open()
    await caller.idle()

    assert len(raised) == 1
    assert headwater.heard == []


async def test_a_plain_function_may_wait_for_the_end(call, headwater):
    began = threading.Event()
    waited = []

    def crawl(task):
        began.set()
        waited.append((task.over.wait(10), task.is_over))

    caller = call(crawl)
    await caller.start()
    await until(began.is_set)
    await caller.end()
    await caller.idle()

    assert waited == [(True, True)]
    assert headwater.heard == []


async def test_the_end_wakes_a_plain_function_that_waits_for_headwater(call, headwater):
    headwater.answer = lambda _heard: httpx.ConnectError("Headwater is away")
    raised = []

    def crawl(task):
        try:
            while True:
                task.write({"id": "a" * 100})
        except TaskGone as error:
            raised.append(error)
            raise

    caller = call(crawl, writer={"max_bytes": 1000})
    await caller.start()
    await until(lambda: headwater.heard)
    began = time.monotonic()
    await caller.end()
    await caller.idle()

    assert len(raised) == 1
    assert time.monotonic() - began < 5


async def test_the_end_of_a_task_that_nobody_knows_is_404(call):
    answer = await call(lambda _task: None).end("f2")

    assert answer.status_code == 404
    assert answer.json() == {"success": False, "messages": ["no task f2 runs here"]}


async def test_the_end_of_a_task_that_has_ended_is_heard(call, headwater):
    caller = call(lambda _task: None)
    await caller.start()
    await headwater.closed()
    await caller.idle()

    assert (await caller.end()).status_code == 200


class Stop(BaseException):
    """Ends a function, past ``except Exception``."""


@pytest.mark.parametrize("error", [ValueError("a\0\ud83d"), Stop("\0"), SystemExit(1), GeneratorExit()])
@pytest.mark.parametrize("is_async", [True, False])
async def test_whatever_a_function_raises_closes_its_task(call, headwater, error, is_async):
    async def crawl(task):
        await task.write({"id": "a"})
        raise error

    def crawl_in_thread(task):
        task.write({"id": "a"})
        raise error

    caller = call(crawl if is_async else crawl_in_thread)
    await caller.start()
    await caller.idle()
    assert [status["code"] for status in headwater.statuses()] == [500]
    assert headwater.documents() == [{"id": "a"}]
