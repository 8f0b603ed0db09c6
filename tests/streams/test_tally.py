import asyncio

from builders import eventually
from headwater.catalog import streams
from headwater.streams.tally import Tally


async def test_the_number_of_documents_is_counted_as_of_a_version(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}, {"id": "b"}])
    await world.done(crawler, [{"id": "b"}, {"id": "c"}])
    tally = Tally(world.db, world.engine)
    assert await tally.turn() == 3
    stream = await world.stream(crawler.stream)
    assert (stream.docs, stream.docs_version, stream.stream_version) == (3, 2, 2)
    assert await world.db.read(streams.uncounted, limit=5) == []


async def test_a_stream_that_shows_nothing_any_more_counts_zero(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}])
    tally = Tally(world.db, world.engine)
    await tally.turn()
    await world.delete(task)
    await tally.turn()
    assert (await world.stream(crawler.stream)).docs == 0


async def test_a_running_tally_follows_what_changes(world):
    crawler = await world.crawler()
    running = asyncio.create_task(Tally(world.db, world.engine).run())
    await world.done(crawler, [{"id": "a"}])

    async def counted() -> bool:
        return (await world.stream(crawler.stream)).docs == 1

    await eventually(counted)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
