import asyncio

import structlog

from headwater.lifecycle.errands import Errands


async def _nothing():
    await asyncio.sleep(0)


async def test_the_end_of_an_errand_wakes_the_loop():
    errands = Errands(fault="errand.failed")
    errands.begin_turn()
    errands.begin(_nothing())
    assert len(errands) == 1
    async with asyncio.timeout(10):
        await errands.rest(3600)
    assert len(errands) == 0


async def test_a_topic_that_is_announced_wakes_the_loop(db):
    errands = Errands(fault="errand.failed")
    errands.wake_on(db, "one", "other")
    for topic in ("one", "other"):
        errands.begin_turn()
        await db.write(lambda tx, topic=topic: tx.announce(topic))
        async with asyncio.timeout(10):
            await errands.rest(3600)


async def test_what_woke_the_loop_before_its_turn_does_not_wake_it_again():
    errands = Errands(fault="errand.failed")
    errands.begin(_nothing())
    await errands.idle()
    errands.begin_turn()
    resting = asyncio.create_task(errands.rest(3600))
    await asyncio.sleep(0.02)
    assert not resting.done()
    resting.cancel()


async def test_an_errand_that_fails_is_logged_and_ends_nothing_else():
    async def fails():
        raise ValueError("why")

    errands = Errands(fault="errand.failed")
    with structlog.testing.capture_logs() as logged:
        errands.begin(fails())
        errands.begin(_nothing())
        await errands.idle()
    assert [line["event"] for line in logged] == ["errand.failed"]


async def test_what_is_under_way_is_cancelled_in_the_end():
    ended = []

    async def waits():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(True)

    errands = Errands(fault="errand.failed")
    errands.begin(waits())
    await asyncio.sleep(0)
    await errands.cancel()
    assert ended == [True]
