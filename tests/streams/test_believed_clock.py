from datetime import timedelta

import pytest

from builders import AT
from headwater.catalog.believed_time import believed_time
from headwater.domain.clock_jump import CATCH_UP
from headwater.streams.believed_clock import BelievedClock
from headwater.streams.retention import Retention

KEEP = timedelta(days=30)


class Server:
    """A server's purging, by a clock that may jump; made anew, it is the next start."""

    def __init__(self, world):
        self.world, self.steady = world, 0.0
        self.clock = BelievedClock(world.db, clock=world.clock, steady=lambda: self.steady)
        self.retention = Retention(world.db, world.store, keep=KEEP, clock=world.clock, believed=self.clock.now)

    async def serves(self, *, minutes):
        for _ in range(minutes):
            self.steady += 60
            self.world.wait(minutes=1)
            await self.retention.turn()


async def _deleted(world):
    crawler = await world.crawler()
    return crawler, await world.delete(await world.done(crawler, [{"id": "a"}]))


async def test_what_was_deleted_a_minute_ago_survives_a_jump_of_31_days_and_comes_back(world):
    server = Server(world)
    await server.retention.turn()
    crawler, task = await _deleted(world)
    await server.serves(minutes=1)
    world.wait(days=31)
    await server.serves(minutes=60)
    world.at -= timedelta(days=31)  # somebody has put it right
    await server.serves(minutes=5)
    await world.restore(task)
    assert list(await world.shown(crawler.stream)) == ["a"]


async def test_starts_do_not_make_a_jump_believed(world):
    await Server(world).retention.turn()
    crawler, task = await _deleted(world)
    world.wait(days=31)
    for _ in range(20):
        server = Server(world)
        await server.retention.turn()
        await server.serves(minutes=2)
    await world.restore(task)
    assert list(await world.shown(crawler.stream)) == ["a"]


async def test_what_is_old_is_purged_by_a_clock_that_goes_like_time(world):
    server = Server(world)
    await server.retention.turn()
    await _deleted(world)
    for _ in range(31):
        server.steady += 86400
        world.wait(days=1)
        await server.retention.turn()
    assert (await world.purge()).docs == 0  # all of it was purged before


async def test_a_server_that_was_off_catches_up(world):
    await Server(world).retention.turn()
    await _deleted(world)
    world.wait(days=60)
    server = Server(world)
    await server.retention.turn()
    server.steady += 60 * 86400 / (CATCH_UP - 1)
    await server.retention.turn()
    assert (await world.purge()).docs == 0


@pytest.mark.parametrize("jump", [timedelta(days=31), timedelta(days=-31)])
async def test_the_moment_is_never_later_than_the_wall_clock(world, jump):
    server = Server(world)
    assert await server.clock.now() == AT
    world.at += jump
    for _ in range(5):
        server.steady += 600
        world.wait(seconds=600)
        assert await server.clock.now() <= world.at
    assert abs(await world.db.read(believed_time) - AT) <= timedelta(seconds=3000 * CATCH_UP)
