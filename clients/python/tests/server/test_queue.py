"""How many tasks run at a time, and what becomes of the others."""

import asyncio

import httpx
import pytest

from headwater_client.models.objects import Task
from headwater_client.server.queue import pause_before_notice
from server.calling import TASK, until


def message(answer):
    return answer.json()["payload"]["status"]["message"]


async def test_more_tasks_than_may_run_wait_in_order_and_are_told_for_how_many(call, headwater, gate):
    order = []

    async def crawl(task):
        order.append(task.fid)
        await gate.wait()

    caller = call(crawl, concurrency=2)
    answers = [await caller.start(f"f{n}") for n in range(5)]

    assert [message(answer) for answer in answers] == [
        "begun",
        "begun",
        "waits for 2 others",
        "waits for 3 others",
        "waits for 4 others",
    ]
    assert await caller.health() == {"running": 2, "waiting": 3}
    gate.open()
    await caller.idle()
    assert order == ["f0", "f1", "f2", "f3", "f4"]
    assert [headwater.codes(f"f{n}")[-1] for n in range(5)] == [200] * 5


async def test_beyond_the_queue_an_order_is_asked_to_come_back(call, gate):
    caller = call(lambda _task: gate.pass_through(), concurrency=1, waiting=1)
    await caller.start("f1")
    await caller.start("f2")

    answer = await caller.start("f3")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "60"
    assert answer.json() == {
        "success": False,
        "messages": ["1 tasks run here and 1 wait, which are all that may"],
    }
    gate.open()
    await caller.idle()
    assert (await caller.start("f3")).status_code == 200


async def test_the_same_order_again_is_told_that_it_waits(call, gate):
    caller = call(lambda _task: gate.pass_through(), concurrency=1, waiting=1)
    await caller.start("f1")

    first, second = await caller.start("f2"), await caller.start("f2")

    assert first.json() == second.json()
    assert message(second) == "waits for 1 other"


async def test_a_task_that_is_ended_while_it_waits_never_starts(call, headwater, gate):
    begun = []

    def crawl(task):
        begun.append(task.fid)
        gate.pass_through()

    caller = call(crawl, concurrency=1)
    await caller.start("f1")
    await caller.start("f2")
    await caller.end("f2")
    gate.open()
    await caller.idle()

    assert begun == ["f1"]
    assert headwater.codes("f2") == []


async def test_a_retry_of_a_task_that_waits_takes_its_place(call, headwater, gate):
    begun = []

    def crawl(task):
        begun.append(task.fid)
        gate.pass_through()

    caller = call(crawl, concurrency=1, waiting=1)
    await caller.start("f1")
    await caller.start("f2", token="t1")
    answer = await caller.start("f2", token="t2")
    gate.open()
    await caller.idle()

    assert answer.status_code == 200
    assert begun == ["f1", "f2"]
    assert {heard.token for heard in headwater.heard if heard.fid == "f2"} == {"t2"}


async def test_a_task_that_waits_speaks_before_its_crawlers_timeout_has_passed(call, headwater, gate):
    headwater.timeout = 0.9
    caller = call(lambda _task: gate.pass_through(), concurrency=1)
    await caller.start("f1")
    await caller.start("f2")

    await until(lambda: len(headwater.statuses("f2")) >= 3)
    gate.open()
    await caller.idle()

    *notices, begun, done = headwater.statuses("f2")
    assert {(notice["code"], notice["message"]) for notice in notices} == {(102, "waits for 1 other")}
    assert begun == {"code": 102, "message": "begun"}
    assert done == {"code": 200}


async def test_a_task_that_turns_out_to_be_gone_when_its_turn_comes_does_not_start(call, headwater, gate):
    headwater.answer = lambda heard: (404, {"detail": "deleted"}) if heard.fid == "f2" else None
    begun = []

    def crawl(task):
        begun.append(task.fid)
        gate.pass_through()

    caller = call(crawl, concurrency=1)
    await caller.start("f1")
    await caller.start("f2")
    gate.open()
    await caller.idle()

    assert begun == ["f1"]


@pytest.mark.parametrize(("timeout", "pause"), [("00:00:30", 10), ("01:00:00", 60)])
def test_the_pause_before_it_speaks_is_a_third_of_the_timeout_and_a_minute_at_most(timeout, pause):
    task = Task.read({**TASK, "deadline": f"2026-01-01T{timeout}Z"})

    assert pause_before_notice(task) == pytest.approx(pause)


def test_without_a_deadline_the_pause_is_a_minute():
    assert pause_before_notice(Task.read({**TASK, "deadline": None})) == 60


async def test_a_task_that_turns_out_to_be_gone_while_it_waits_never_starts(call, headwater, gate):
    headwater.answer = lambda heard: (404, {"detail": "deleted"}) if heard.fid == "f2" else None
    begun = []

    def crawl(task):
        begun.append(task.fid)
        gate.pass_through()

    caller = call(crawl, concurrency=1)
    await caller.start("f1")
    await caller.start("f2")
    await until(lambda: headwater.statuses("f2"))
    await until(lambda: caller.crawler._runs.waiting == 0)  # noqa: SLF001 - nothing else shows before the first ends
    gate.open()
    await caller.idle()

    assert begun == ["f1"]


async def test_a_task_that_waits_while_headwater_is_away_waits_on(call, headwater, gate):
    headwater.answer = lambda _heard: httpx.ConnectError("away") if len(headwater.statuses("f2")) < 2 else None
    begun = []

    def crawl(task):
        begun.append(task.fid)
        gate.pass_through()

    caller = call(crawl, concurrency=1)
    await caller.start("f1")
    await caller.start("f2")
    await until(lambda: headwater.statuses("f2"))
    gate.open()
    await caller.idle()

    assert begun == ["f1", "f2"]
    assert headwater.codes("f2")[-1] == 200


async def test_a_plain_function_that_is_over_keeps_its_place_until_it_returns(call, gate):
    caller = call(lambda _task: gate.pass_through(), concurrency=1)
    await caller.start("f1")
    await until(gate.reached.is_set)
    await caller.end("f1")
    await caller.start("f2")
    await asyncio.sleep(0.05)

    assert await caller.health() == {"running": 1, "waiting": 1}
    gate.open()
    await caller.idle()
