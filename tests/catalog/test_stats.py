from builders import a_stream, an_external
from headwater.catalog import stats
from headwater.catalog.core import migrate


async def test_what_there_is_is_counted(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}, {"id": "b"}])
    await world.delete(await world.done(crawler, [{"id": "c"}]))
    called = await world.crawler(external=an_external(endpoint="http://ec.test"))
    await world.task(called)
    found = await world.db.read(stats.collect)
    assert found.tasks == {"done": 2, "new": 1}
    assert (found.streams, found.externals, found.crawlers) == (2, 2, 2)
    assert (found.segments, found.notices) == (1, 1)
    assert found.oldest_notice == world.at


async def test_nothing_is_counted_where_there_is_nothing(db):
    found = await db.read(stats.collect)
    assert (found.tasks, found.docs, found.notices, found.oldest_notice) == ({}, 0, 0, None)


async def test_the_oldest_crawlers_are_named_with_their_streams(world):
    made = [
        await world.crawler(stream=a_stream(meta={"name": f"Stream {number}"}), meta={"name": f"Crawler {number}"})
        for number in range(3)
    ]
    found = await world.db.read(stats.oldest_crawlers, limit=2)
    oldest = sorted(made, key=lambda crawler: crawler.fid)[:2]
    assert found == {
        crawler.fid: (crawler.meta["name"], crawler.meta["name"].replace("Crawler", "Stream")) for crawler in oldest
    }
    assert await world.db.read(stats.oldest_crawlers, limit=0) == {}


async def test_a_touch_is_a_write_that_changes_nothing(db, url):
    await db.write(stats.touch)
    assert migrate.present(url) == migrate.newest()
