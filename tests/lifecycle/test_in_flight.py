import asyncio

import structlog

from headwater.lifecycle.in_flight import InFlight


async def _nothing():
    await asyncio.sleep(0)


async def test_the_end_of_an_errand_is_told():
    ended = asyncio.Event()
    in_flight = InFlight(fault="errand.failed", ended=ended.set)
    in_flight.start(_nothing())
    assert len(in_flight) == 1
    async with asyncio.timeout(10):
        await ended.wait()
    assert len(in_flight) == 0


async def test_an_errand_that_fails_is_logged_and_ends_nothing_else():
    async def fails():
        raise ValueError("why")

    in_flight = InFlight(fault="errand.failed")
    with structlog.testing.capture_logs() as logged:
        in_flight.start(fails())
        in_flight.start(_nothing())
        await in_flight.idle()
    assert [line["event"] for line in logged] == ["errand.failed"]


async def test_what_is_under_way_is_cancelled_in_the_end():
    ended = []

    async def waits():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(True)

    in_flight = InFlight(fault="errand.failed")
    in_flight.start(waits())
    await asyncio.sleep(0)
    await in_flight.cancel()
    assert ended == [True]
