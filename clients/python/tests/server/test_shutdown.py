"""What becomes of tasks when the server ends."""

import asyncio
import threading

import httpx

from server.calling import until

WORDS = "the crawler was shut down"


async def shut_down(caller):
    """Enter and leave the lifespan, as a server does around everything."""
    async with caller.crawler.lifespan():
        pass


async def test_runs_may_come_to_their_end_within_the_grace(call, headwater, gate):
    async def crawl(task):
        await gate.wait()
        await task.write({"id": "a"})

    caller = call(crawl, grace=10)
    await caller.start()
    ending = asyncio.create_task(shut_down(caller))
    await until(gate.reached.is_set)
    gate.open()
    await ending

    assert headwater.documents() == [{"id": "a"}]
    assert headwater.codes() == [200]


async def test_a_coroutine_that_takes_longer_is_cancelled_and_what_it_wrote_is_kept(call, headwater, gate):
    cancelled = []

    async def crawl(task):
        await task.write({"id": "a"})
        try:
            await gate.wait()
        finally:
            cancelled.append(task.is_over)

    caller = call(crawl, grace=0)
    await caller.start()
    await until(gate.reached.is_set)
    await shut_down(caller)

    assert cancelled == [True]
    assert headwater.documents() == [{"id": "a"}]
    assert headwater.statuses() == [{"code": 500, "message": WORDS}]


async def test_a_plain_function_is_told_and_what_it_wrote_is_kept(call, headwater):
    began = threading.Event()

    def crawl(task):
        task.write({"id": "a"})
        began.set()
        task.over.wait(10)

    caller = call(crawl, grace=0)
    await caller.start()
    await until(began.is_set)
    await shut_down(caller)

    assert headwater.documents() == [{"id": "a"}]
    assert headwater.statuses() == [{"code": 500, "message": WORDS}]


async def test_a_plain_function_that_does_not_stop_is_reported_all_the_same(call, headwater, gate):
    after = []

    def crawl(task):
        task.write({"id": "a"})
        gate.pass_through()
        try:
            task.write({"id": "b"})
        except Exception as error:
            after.append(type(error).__name__)
            raise

    caller = call(crawl, grace=0)
    await caller.start()
    await until(gate.reached.is_set)
    await shut_down(caller)

    assert headwater.documents() == [{"id": "a"}]
    assert headwater.statuses() == [{"code": 500, "message": WORDS}]
    gate.open()
    await caller.idle()
    assert after == ["TaskGone"]
    assert headwater.codes() == [500]


async def test_tasks_that_wait_fail_at_once_and_never_start(call, headwater, gate):
    begun = []

    async def crawl(task):
        begun.append(task.fid)
        await gate.wait()

    caller = call(crawl, concurrency=1, grace=10)
    for fid in ("f1", "f2", "f3"):
        await caller.start(fid)
    ending = asyncio.create_task(shut_down(caller))
    await until(lambda: headwater.statuses("f2") and headwater.statuses("f3"))
    assert not ending.done()
    gate.open()
    await ending

    assert begun == ["f1"]
    assert headwater.codes("f1") == [200]
    assert headwater.statuses("f2") == headwater.statuses("f3") == [{"code": 500, "message": WORDS}]


async def test_a_server_that_ends_takes_no_new_tasks_and_still_knows_the_old_ones(call, gate):
    async def crawl(_task):
        await gate.wait()

    caller = call(crawl, grace=10)
    await caller.start("f1")
    ending = asyncio.create_task(shut_down(caller))
    await until(gate.reached.is_set)
    new, same = await caller.start("f2"), await caller.start("f1")
    gate.open()
    await ending

    assert new.status_code == 503
    assert new.headers["retry-after"] == "10"
    assert new.json() == {"success": False, "messages": ["the crawler is shutting down"]}
    assert same.status_code == 200


async def test_a_task_that_is_ended_during_the_grace_is_not_reported(call, headwater, gate):
    async def crawl(_task):
        await gate.wait()

    caller = call(crawl, grace=10)
    await caller.start()
    await until(gate.reached.is_set)
    ending = asyncio.create_task(shut_down(caller))
    await asyncio.sleep(0)
    await caller.end()
    await ending

    assert headwater.heard == []


async def test_who_hurries_waits_for_no_run(call, headwater, gate):
    async def crawl(_task):
        await gate.wait()

    caller = call(crawl, grace=3600)
    await caller.start()
    ending = asyncio.create_task(shut_down(caller))
    await until(gate.reached.is_set)
    caller.crawler._runs.hurry()  # noqa: SLF001 - a second signal does it, which only a process gets
    await ending

    assert headwater.statuses() == [{"code": 500, "message": WORDS}]


async def test_a_headwater_that_is_away_holds_up_no_shutdown(call, headwater, gate):
    headwater.answer = lambda _heard: httpx.ConnectError("away")

    async def crawl(task):
        await task.write({"id": "a"})
        await gate.wait()

    caller = call(crawl, grace=0)
    await caller.start()
    await until(gate.reached.is_set)

    async with asyncio.timeout(15):
        await shut_down(caller)


async def test_a_run_that_was_closing_its_task_is_not_reported_as_failed(call, headwater, gate):
    def answer(heard):
        if heard.what == "status" and heard.status["code"] == 200:
            gate.pass_through()
        if heard.what == "status" and heard.status["code"] == 500:
            return 409, {"type": "https://headwater.dev/problems/task-closed", "detail": "closed"}
        return None

    headwater.answer = answer
    caller = call(lambda task: task.write({"id": "a"}), grace=0.1)
    await caller.start()
    await until(gate.reached.is_set)
    ending = asyncio.create_task(shut_down(caller))
    await asyncio.sleep(0.3)
    gate.open()
    await ending

    assert headwater.codes()[0] == 200


async def test_after_a_shutdown_a_server_may_begin_again(call, headwater):
    caller = call(lambda _task: None)
    await shut_down(caller)

    async with caller.crawler.lifespan():
        await caller.start()
        assert (await headwater.closed())["code"] == 200
