import json

import pytest

from headwater.domain.errors import NotFound
from headwater.domain.filter import condition_of
from headwater.lake import current, lookup, page_size
from headwater.lake.diff import Operation
from headwater.streams import diffs
from headwater.streams.views import NOW, View


async def _pages(world, stream, limit, view=NOW):
    after, ids = None, []
    while True:
        page = await world.reader.page(stream, view, after=after, limit=limit)
        assert len(page.docs) <= limit
        ids += [found.id for found in page.docs]
        after, view = page.next_after, View(as_of=page.version)
        if after is None:
            return ids


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_pages_hold_every_current_document_once_in_id_order(world, limit):
    crawler = await world.crawler()
    for start in (0, 3, 6):
        await world.done(crawler, [{"id": f"d{n:02}", "v": start} for n in reversed(range(start, start + 8))] * 2)
    assert await _pages(world, crawler.stream, limit) == [f"d{n:02}" for n in range(14)]


async def test_a_page_says_where_the_next_begins_only_if_there_is_one(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": name} for name in "abc"])
    page = await world.reader.page(crawler.stream, NOW, after=None, limit=3)
    assert (len(page.docs), page.next_after) == (3, None)
    page = await world.reader.page(crawler.stream, NOW, after=None, limit=2)
    assert (len(page.docs), page.next_after) == (2, "b")


async def test_the_pages_of_one_walk_are_of_one_stream_version(world):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": name} for name in "abcd"])
    page = await world.reader.page(crawler.stream, NOW, after=None, limit=2)
    await world.delete(first)
    await world.done(crawler, [{"id": "bb"}])
    rest = await world.reader.page(crawler.stream, View(as_of=page.version), after=page.next_after, limit=10)
    assert [found.id for found in rest.docs] == ["c", "d"]


async def test_a_document_is_shown_as_it_was_uploaded_with_the_task_that_wrote_it(world):
    crawler = await world.crawler()
    await world.done(crawler, b'{"id": "a", "n": 1.50}\n')
    newer = await world.task(crawler)
    await world.upload(newer, b'{ "id":"a",  "n": 2e0, "\\u00e9": "\xc3\xa9" }\n')
    found = await world.reader.one(crawler.stream, NOW, "a")
    assert (found.task, found.text) == (newer.fid, '{ "id":"a",  "n": 2e0, "\\u00e9": "é" }\n')


async def test_a_document_that_is_not_shown_is_not_found(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}])
    await world.delete(task)
    for name in ("a", "zzz", "", "a\x00"):
        with pytest.raises(NotFound):
            await world.reader.one(crawler.stream, NOW, name)
    with pytest.raises(NotFound, match="there is no stream"):
        await world.reader.one("x", NOW, "a")


@pytest.mark.parametrize("name", ["", "a/b", "ü", "a\x00b", "'; DROP", "x" * 5000, "🦆"])
async def test_any_text_is_an_id(world, name):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": name, "v": 1}, {"id": "other"}])
    assert json.loads((await world.reader.one(crawler.stream, NOW, name)).text) == {"id": name, "v": 1}


async def test_a_tasks_own_documents_come_in_order_of_arrival_and_all_of_them(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [{"id": "b", "n": 0}, {"id": "a", "n": 1}])
    await world.upload(task, [{"id": "b", "n": 2}])
    await world.upload(task, [{"id": "c", "n": 3}, {"id": "d", "n": 4}])
    await world.delete(task)
    for limit in (1, 2, 3, 10):
        after, order = None, []
        while True:
            page = await world.reader.arrivals(task.fid, after=after, limit=limit)
            order += [json.loads(found.text)["n"] for found in page.docs]
            after = page.next_after
            if after is None:
                break
        assert order == [0, 1, 2, 3, 4]


async def test_an_empty_stream_reads_as_nothing(world):
    crawler = await world.crawler()
    assert await world.export(crawler.stream) == b""
    assert (await world.reader.page(crawler.stream, NOW, after=None, limit=5)).docs == []
    with pytest.raises(NotFound):
        await world.export("x")


@pytest.fixture
def small_pages(monkeypatch):
    """Pages end after 1,000 characters."""
    for module in (page_size, lookup):
        monkeypatch.setattr(module, "PAGE_TEXT", 1000)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("q", [None, "x"])
async def test_a_page_of_large_documents_ends_before_its_limit_and_the_next_goes_on(world, q):
    crawler = await world.crawler()
    sizes = {f"d{n:02}": (10, 400, 3000)[n % 3] for n in range(30)}
    await world.done(crawler, [{"id": name, "text": "x" * size} for name, size in sizes.items()])
    after, found = None, []
    condition = condition_of(q, [])
    while True:
        page = await world.reader.page(crawler.stream, NOW, after=after, limit=20, condition=condition)
        found += page.docs
        assert sum(len(one.text) for one in page.docs[:-1]) < 1000
        after = page.next_after
        if after is None:
            break
    assert {one.id: len(json.loads(one.text)["text"]) for one in found} == sizes
    assert [one.id for one in found] == sorted(sizes)


async def test_what_is_deleted_is_not_found_where_all_documents_are_searched(world, monkeypatch):
    monkeypatch.setattr(current, "SEARCHED", 1)
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a", "n": 1}, {"id": "b", "n": 1}, {"id": "c", "n": 2}])
    await world.done(crawler, [{"$delete": "a"}, {"id": "c", "n": 1}])
    page = await world.reader.page(crawler.stream, NOW, after=None, limit=9, condition=condition_of(None, ["n=1"]))
    assert [one.id for one in page.docs] == ["b", "c"]


@pytest.mark.usefixtures("small_pages")
async def test_so_do_pages_of_what_a_task_brought_and_changed(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": f"d{n:02}", "text": "x" * 400} for n in range(10)])
    after, arrived, pages = None, [], 0
    while True:
        page = await world.reader.arrivals(task.fid, after=after, limit=20)
        arrived += [one.id for one in page.docs]
        pages += 1
        after = page.next_after
        if after is None:
            break
    assert (arrived, pages > 2) == ([f"d{n:02}" for n in range(10)], True)
    added = await world.task_diffs.page(lambda tx: diffs.of_task(tx, task.fid), Operation.ADDED, after=None, limit=20)
    assert [row.id for row in added] == ["d00", "d01", "d02"]
