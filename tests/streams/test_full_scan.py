import asyncio

import pytest

from builders import SANDBOX, an_external
from headwater.catalog import crawlers
from headwater.ingest.schema_check import Recheck
from headwater.ingest.validation import Checker
from headwater.lake.engine import Engine
from headwater.lifecycle import deletion
from headwater.streams.documents import DocumentReader
from headwater.streams.full_scan import scan_all


class Seen:
    """A judge who remembers what it was shown, batch by batch, and may do something meanwhile."""

    def __init__(self, meanwhile=None) -> None:
        self.batches: list[list[str]] = []
        self.meanwhile = meanwhile

    def take(self, batch) -> None:
        self.batches.append(batch.column("doc_id").to_pylist())
        if self.meanwhile is not None:
            self.meanwhile()

    @property
    def ids(self) -> list[str]:
        return [doc_id for batch in self.batches for doc_id in batch]


@pytest.fixture
def small(world):
    """A reader with so little memory that streams are read in ranges."""
    engine = Engine(
        world.store, memory=16 << 20, spill=world.store.root.parent / "small", threads=1, inlined=world.engine.inlined
    )
    yield DocumentReader(world.db, engine), engine
    engine.close()


async def test_a_judge_sees_what_the_stream_shows_and_nothing_else(world):
    crawler = await world.crawler()
    gone = await world.done(crawler, [{"id": "a", "n": 1}, {"id": "z", "n": 1}])
    await world.done(crawler, [{"id": "a", "n": 2}, {"id": "b", "n": 2}])
    await world.delete(gone)
    seen = await scan_all(world.reader, world.engine, crawler.stream, Seen)
    assert seen.visitor.ids == ["a", "b"]
    assert (seen.stream.fid, seen.version) == (crawler.stream, (await world.stream(crawler.stream)).stream_version)


async def test_documents_are_checked_by_the_code_that_checks_uploads(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a", "n": 1}, {"id": "b", "n": "x"}])
    external = an_external(schema={"properties": {"n": {"type": "integer"}}})
    checker = Checker(external.definition, external="Books", sandbox=SANDBOX)
    seen = await scan_all(world.reader, world.engine, crawler.stream, lambda: Recheck(checker))
    assert (seen.visitor.documents, seen.visitor.failing) == (2, 1)
    assert [(each.id, each.task, each.flaw.pointer) for each in seen.visitor.examples] == [("b", task.fid, "/n")]


async def test_an_empty_stream_shows_nothing_and_one_that_is_not_there_is_none(world):
    crawler = await world.crawler()
    assert (await scan_all(world.reader, world.engine, crawler.stream, Seen)).visitor.ids == []
    assert await scan_all(world.reader, world.engine, "0" * 32, Seen) is None


def _docs(text: str) -> list[dict]:
    return [{"id": f"{n:04}", "text": text * 2000} for n in range(2000)]


async def test_what_changes_while_a_large_stream_is_read_is_not_seen(world, small):
    reader, engine = small
    crawler = await world.crawler()
    await world.done(crawler, _docs("a"))
    loop = asyncio.get_running_loop()
    more = [{"id": f"{n:04}x"} for n in range(2000)]

    def meanwhile() -> None:
        asyncio.run_coroutine_threadsafe(world.done(crawler, more), loop).result(60)

    done = []

    def once() -> None:
        if not done:
            done.append(meanwhile())

    seen = await scan_all(reader, engine, crawler.stream, lambda: Seen(once))
    assert len(seen.visitor.batches) > 1
    assert seen.visitor.ids == [f"{n:04}" for n in range(2000)]
    assert seen.version == 1


async def test_a_stream_whose_crawler_is_deleted_meanwhile_is_looked_at_anew(world, small):
    reader, engine = small
    crawler = await world.crawler()
    await world.done(crawler, _docs("a"))
    loop = asyncio.get_running_loop()

    def meanwhile() -> None:
        removed = world.db.write(
            deletion.remove_crawler, crawler.fid, cascade=True, expected=None, vault=world.vault, at=world.at
        )
        asyncio.run_coroutine_threadsafe(removed, loop).result(60)

    judges = [Seen(meanwhile), Seen()]
    coming = iter(judges)
    seen = await scan_all(reader, engine, crawler.stream, lambda: next(coming))
    assert 0 < len(judges[0].ids) < 2000
    assert seen.visitor is judges[1]
    assert seen.visitor.ids == []


async def test_who_breaks_it_off_ends_it_with_the_batch_that_is_looked_at(world, small):
    reader, engine = small
    crawler = await world.crawler()
    await world.done(crawler, _docs("a"))
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    judge = Seen(lambda: loop.call_soon_threadsafe(begun.set))
    work = asyncio.create_task(scan_all(reader, engine, crawler.stream, lambda: judge))
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert len(judge.ids) < 2000


async def test_the_streams_of_an_external_are_those_that_its_crawlers_feed(world):
    external = an_external()
    fed = [(await world.crawler(external=external)).stream for _ in range(3)]
    await world.crawler()
    assert sorted(await world.db.read(crawlers.fed_by, external.fid)) == sorted(fed)
    assert await world.db.read(crawlers.fed_by, "0" * 32) == []
