"""Tasks while the wall clock of their server jumps."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from builders import eventually
from headwater.catalog.believed_time import believe
from headwater.domain.task import TaskState
from headwater.lifecycle import turn_timer
from headwater.lifecycle.ec.client import EcClient
from headwater.lifecycle.ec.dispatcher import Dispatcher


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch):
    """Turns follow one another soon: what is asked is how many turns, not seconds, it takes."""
    monkeypatch.setattr(turn_timer, "REST", 0.05)
    monkeypatch.setattr(turn_timer, "LONGEST_REST", 0.1)


class Time:
    """The time that really passes, of which the world's clock may have another idea."""

    def __init__(self, world):
        self.world, self.steady, self.looks = world, 0.0, 0

    def __call__(self):
        self.looks += 1
        return self.steady

    def passes(self, seconds):
        self.steady += seconds
        self.world.wait(seconds=seconds)

    async def is_looked_at(self, *, times=2):
        """Wait for as many turns, the last of which has begun."""
        until = self.looks + times

        async def looked():
            return self.looks >= until

        await eventually(looked)


@asynccontextmanager
async def dispatching(world, ecs, time):
    ec_client = EcClient(ecs.transport())
    dispatcher = Dispatcher(
        world.db, ec_client, vault=world.vault, public_url="https://be", clock=world.clock, steady=time
    )
    running = asyncio.create_task(dispatcher.run())
    await time.is_looked_at()
    yield
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await ec_client.close()


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=400), timedelta(days=-1)])
async def test_a_clock_that_jumps_ends_no_task_and_silence_still_does(world, ecs, jump):
    task = await world.task(await world.crawler(timeout=100))
    await world.report(task, 102)
    time = Time(world)
    async with dispatching(world, ecs, time):
        world.at += jump
        await time.is_looked_at()
        now = await world.now(task)
        assert now.state is TaskState.RUNNING
        assert now.deadline == world.at + timedelta(seconds=100)

        time.passes(99)
        await time.is_looked_at()
        assert (await world.now(task)).state is TaskState.RUNNING
        time.passes(2)

        async def timed_out():
            return (await world.now(task)).state is TaskState.TIMED_OUT

        await eventually(timed_out)


async def test_each_open_task_has_its_own_timeout_anew(world, ecs):
    tasks = [await world.task(await world.crawler(timeout=timeout)) for timeout in (50, 100, 3600, 100)]
    ended = await world.done(await world.crawler(timeout=100), [{"id": "a"}])
    time = Time(world)
    async with dispatching(world, ecs, time):
        world.wait(days=1)
        await time.is_looked_at()
    deadlines = [(await world.now(task)).deadline - world.at for task in tasks]
    assert [deadline.total_seconds() for deadline in deadlines] == [50, 100, 3600, 100]
    assert (await world.now(ended)).deadline is None


@pytest.mark.parametrize("gap", [timedelta(days=1), timedelta(days=-1)])
async def test_a_clock_that_jumped_while_no_server_ran_leaves_tasks_their_whole_timeout(world, ecs, gap):
    task = await world.task(await world.crawler(timeout=1000))
    await world.db.write(believe, world.at)
    world.at += gap
    async with dispatching(world, ecs, Time(world)):
        assert (await world.now(task)).deadline == world.at + timedelta(seconds=1000)


async def test_an_upload_under_way_is_heard_though_the_clock_is_put_back(world):
    task = await world.task(await world.crawler(timeout=100))
    await world.report(task, 102)

    async def body():
        yield b'{"id": "a"}\n' * 30_000
        world.at -= timedelta(days=1)
        yield b'{"id": "b"}\n' * 30_000

    await world.uploads.take(await world.now(task), body())
    assert (await world.now(task)).deadline == world.at + timedelta(seconds=100)
