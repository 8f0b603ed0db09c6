from builders import AT, a_task
from headwater.catalog import streams
from headwater.domain.stream import Change
from headwater.domain.task import Publish


async def test_an_upload_that_shows_at_once_takes_a_layer_and_a_version(world):
    crawler = await world.crawler()
    task = a_task(crawler)
    given = [await world.db.write(streams.put_on_top, task, docs=docs, at=AT) for docs in (2, 3)]
    assert given == [(1, 1), (2, 2)]
    entries = await world.db.read(streams.log, crawler.stream, before=None, limit=10)
    assert [(entry.version, entry.change, entry.docs) for entry in entries] == [
        (2, Change.UPLOAD, 3),
        (1, Change.UPLOAD, 2),
    ]


async def test_an_upload_that_waits_takes_a_layer_only(world):
    crawler = await world.crawler()
    waiting = a_task(crawler, publish=Publish.ON_SUCCESS)
    assert await world.db.write(streams.put_on_top, waiting, docs=2, at=AT) == (1, None)
    assert await world.db.write(streams.advance, waiting, Change.PUBLISH, docs=2, at=AT) == 1
    assert await world.db.write(streams.put_on_top, waiting, docs=2, at=AT) == (2, None)
    stream = await world.stream(crawler.stream)
    assert (stream.top_layer, stream.stream_version) == (2, 1)


async def test_a_log_is_read_backwards_from_a_version(world):
    crawler = await world.crawler()
    task = a_task(crawler)
    for _ in range(5):
        await world.db.write(streams.put_on_top, task, docs=1, at=AT)
    page = await world.db.read(streams.log, crawler.stream, before=4, limit=2)
    assert [entry.version for entry in page] == [3, 2]


async def test_an_older_count_does_not_replace_a_newer(world):
    crawler = await world.crawler()
    task = a_task(crawler)
    for _ in range(2):
        await world.db.write(streams.put_on_top, task, docs=1, at=AT)
    assert [stream.fid for stream in await world.db.read(streams.uncounted, limit=5)] == [crawler.stream]
    await world.db.write(streams.counted, crawler.stream, docs=7, version=2)
    await world.db.write(streams.counted, crawler.stream, docs=3, version=1)
    stream = await world.stream(crawler.stream)
    assert (stream.docs, stream.docs_version) == (7, 2)
    assert await world.db.read(streams.uncounted, limit=5) == []


async def test_a_page_of_changes_ends_where_its_documents_do_however_long_the_log_is(world):
    crawler = await world.crawler()
    task = a_task(crawler)

    def log_uploads(tx) -> None:
        for _ in range(streams.STEPS):
            tx.run_steps(streams.put_on_top(tx, task, docs=0, at=AT))
        for docs in (1, 2, 0, 5):
            tx.run_steps(streams.put_on_top(tx, task, docs=docs, at=AT))

    await world.db.write(log_uploads)
    begun = streams.STEPS
    within = [
        await world.db.read(streams.within, crawler.stream, since=1, until=begun + 4, docs=docs)
        for docs in (1, 2, 3, 7, 8, 99)
    ]
    assert within == [begun + 1, begun + 1, begun + 2, begun + 3, begun + 4, begun + 4]
    assert await world.db.read(streams.within, crawler.stream, since=begun + 3, until=begun + 4, docs=1) == begun + 4
