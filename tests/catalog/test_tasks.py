import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from builders import AT, a_task
from headwater.catalog import objects, tasks
from headwater.catalog.core.database import Database
from headwater.catalog.objects import TASKS
from headwater.domain.errors import MovedMeanwhile, TaskClosed, TaskRemoved
from headwater.domain.task import TaskState, move


async def test_a_second_open_task_of_a_crawler_is_answered_with_the_first(world):
    crawler = await world.crawler()
    first, second = a_task(crawler), a_task(crawler)
    assert await world.db.write(tasks.add, first) == (first, True)
    assert await world.db.write(tasks.add, second) == (first, False)
    assert await world.db.read(objects.find, TASKS, second.fid) is None


async def test_of_tasks_started_at_one_moment_in_two_processes_one_begins(url, world):
    crawler = await world.crawler()
    other = Database(url)
    for _ in range(10):
        pair = [db.write(tasks.add, a_task(crawler)) for db in (world.db, other)]
        outcomes = await asyncio.gather(*pair)
        assert sorted(begun for _, begun in outcomes) == [False, True]
        assert len({task.fid for task, _ in outcomes}) == 1
        await world.report(outcomes[0][0], 200)
    other.close()


async def test_a_move_from_a_state_that_is_past_is_refused(world):
    task = await world.task()
    done = move(task, TaskState.DONE, code=200, at=AT)
    await world.db.write(tasks.change, task, done, at=AT)
    with pytest.raises(MovedMeanwhile):
        await world.db.write(tasks.change, task, move(task, TaskState.FAILED, code=500, at=AT), at=AT)


async def test_an_upload_is_credited_and_restarts_the_silence_timer(world):
    task = await world.task()
    at = AT + timedelta(minutes=5)
    for _ in range(2):
        await world.db.write(tasks.credit, task, docs=3, size=50, at=at)
    now = await world.now(task)
    assert (now.docs, now.bytes, now.uploads, now.code, now.state) == (6, 100, 2, 102, TaskState.RUNNING)
    assert (now.heard_at, now.deadline) == (at, at + timedelta(seconds=task.timeout))


async def test_the_first_upload_ends_what_was_said_of_a_start_that_waited_and_leaves_what_the_crawler_said(world):
    crawler = await world.crawler()
    waiting = replace(a_task(crawler), message="cannot be reached", detail={"status": 503})
    await world.db.write(objects.add, TASKS, waiting)
    await world.db.write(tasks.credit, waiting, docs=1, size=1, at=AT)
    now = await world.now(waiting)
    assert (now.message, now.detail) == (None, None)
    await world.report(waiting, 102, message="half", detail=[1])
    await world.db.write(tasks.credit, waiting, docs=1, size=1, at=AT)
    now = await world.now(waiting)
    assert (now.message, now.detail) == ("half", [1])


async def test_an_attempt_that_is_over_gets_no_credit(world):
    task = await world.task()
    await world.report(task, 500)
    with pytest.raises(TaskClosed):
        await world.db.write(tasks.credit, task, docs=1, size=1, at=AT)
    await world.retry(task)
    with pytest.raises(MovedMeanwhile, match=r"attempt 1 of task .* is over"):
        await world.db.write(tasks.credit, task, docs=1, size=1, at=AT)
    await world.delete(task)
    with pytest.raises(TaskRemoved):
        await world.db.write(tasks.heard, task, at=AT)


async def test_silent_tasks_are_found_longest_silent_first(world):
    runs = [await world.task(await world.crawler(timeout=timeout)) for timeout in (30, 10, 20, 900)]
    found = await world.db.write(tasks.silent_since, runs[0].deadline + timedelta(seconds=5), limit=9)
    assert [task.timeout for task in found] == [10, 20, 30]


async def test_tasks_overdue_while_nobody_listened_get_a_moment_to_speak(world):
    late = await world.task(await world.crawler(timeout=1))
    fine = await world.task(await world.crawler(timeout=3600))
    world.wait(minutes=5)
    assert await world.db.write(tasks.pardon, at=world.at, grace=timedelta(seconds=60)) == 1
    assert (await world.now(late)).deadline == world.at + timedelta(seconds=60)
    assert (await world.now(fine)).deadline == fine.deadline


async def test_the_latest_task_of_a_stream_is_the_one_that_was_begun_last(world):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": "a"}])
    second = await world.done(crawler, [{"id": "a"}])
    assert (await world.db.read(tasks.latest_of, [crawler.stream]))[crawler.stream].fid == second.fid
    await world.retry(first)
    assert (await world.db.read(tasks.latest_of, [crawler.stream]))[crawler.stream].fid == first.fid
    assert await world.db.read(tasks.latest_of, ["nothing"]) == {}


async def test_the_state_of_a_crawler_is_that_of_its_open_task(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    assert await world.db.read(tasks.open_states, [crawler.fid]) == {crawler.fid: TaskState.NEW}
    await world.report(task, 200)
    assert await world.db.read(tasks.open_states, [crawler.fid]) == {}


async def test_a_task_comes_back_as_it_was_stored(world):
    crawler = await world.crawler()
    task = replace(a_task(crawler), params={"a": [1, "é"], "b": None}, detail={"x": [None]}, message="m", meta={"k": 1})
    await world.db.write(objects.add, TASKS, task)
    assert await world.now(task) == task
