import pytest

from builders import AT, a_stream, an_external
from headwater.catalog import links, objects
from headwater.catalog.links import End, Link
from headwater.catalog.objects import EXTERNALS, STREAMS
from headwater.domain.errors import RequestInvalid


def _end(kind, value):
    return End(type=kind, fid=value if isinstance(value, str) else value.fid)


async def test_the_links_of_crawlers_and_tasks_are_read_off_them(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    me = _end("crawlers", crawler)
    found = await world.db.read(links.around, crawler.fid, after=0, limit=10)
    assert {(link.start, link.end) for link in found} == {
        (_end("streams", crawler.stream), me),
        (_end("externals", crawler.external), me),
        (me, _end("tasks", task)),
    }


async def test_links_made_by_hand_are_found_from_both_ends_and_go_with_an_object(db):
    stream = await db.write(objects.add, STREAMS, a_stream())
    external = await db.write(objects.add, EXTERNALS, an_external())
    link = Link(start=_end("externals", external), end=_end("streams", stream))
    await db.write(links.add, [link, link], known=stream.fid)
    for fid in (stream.fid, external.fid):
        assert await db.read(links.around, fid, after=0, limit=10) == [link]
    await db.write(objects.remove, STREAMS, stream, at=AT)
    assert await db.read(links.around, external.fid, after=0, limit=10) == []


async def test_a_link_to_nothing_is_refused(db):
    link = Link(start=End(type="streams", fid="new"), end=End(type="robots", fid="0" * 32))
    with pytest.raises(RequestInvalid) as refused:
        await db.write(links.add, [link], known="new")
    assert refused.value.flaws[0].pointer == "/meta/links/0"


async def test_links_come_in_pages(world):
    crawler = await world.crawler()
    for _ in range(4):
        await world.done(crawler, [{"id": "a"}])
    pages = [await world.db.read(links.around, crawler.fid, after=after, limit=2) for after in (0, 2, 4, 6)]
    assert [len(page) for page in pages] == [2, 2, 2, 0]
    assert len({(link.start, link.end) for page in pages for link in page}) == 6
