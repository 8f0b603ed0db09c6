import asyncio
import contextlib
from contextlib import asynccontextmanager

from builders import eventually
from headwater.catalog import streams
from headwater.streams.background_loop import QUIET, BackgroundLoop


class Working:
    """Some work, a turn at a time."""

    def __init__(self, *, seconds=0.0, left=0):
        self.turns, self.seconds, self.left = 0, seconds, left

    async def turn(self):
        self.turns += 1
        await asyncio.sleep(self.seconds)
        if self.left:
            self.left -= 1
            return 1
        return 0


@asynccontextmanager
async def going_round(db, working, **options):
    options = {"rest": 0.01, "poll_interval": 60.0} | options
    loop = asyncio.create_task(BackgroundLoop(name="work", turn=working.turn, **options).run(db))
    yield
    loop.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loop


async def _change(db):
    await db.write(lambda tx: tx.publish(streams.CHANGED))


def after(working, turns):
    async def is_so():
        return working.turns >= turns

    return eventually(is_so, seconds=10)


async def test_it_goes_on_while_there_is_work_and_then_waits_for_a_change(db):
    working = Working(left=3)
    async with going_round(db, working):
        await after(working, 4)
        await asyncio.sleep(0.1)
        assert working.turns == 4
        await _change(db)
        await after(working, 5)


async def test_a_change_during_a_turn_is_looked_at(db):
    working = Working(seconds=0.2)
    async with going_round(db, working):
        await after(working, 1)
        await _change(db)
        await after(working, 2)


async def test_while_streams_change_it_takes_its_share_of_the_time_only(db):
    working = Working(seconds=0.05, left=1000)
    async with going_round(db, working, share=0.05):
        await after(working, 1)
        for _ in range(10):
            await _change(db)
            await asyncio.sleep(0.05)
        assert working.turns == 1
        await after(working, 2)


async def test_when_streams_change_no_more_it_goes_on_at_once(db):
    working = Working(seconds=0.5, left=1000)
    async with going_round(db, working, share=0.01):
        await _change(db)
        await after(working, 2)  # in some QUIET seconds, not in 50
    assert QUIET < 5


async def test_a_turn_that_fails_is_followed_by_another(db):
    working = Working(left=5)
    turn = working.turn

    async def failing():
        await turn()
        raise OSError("away")

    working.turn = failing
    async with going_round(db, working, poll_interval=0.05):
        await after(working, 3)
