import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import World, a_segment, a_task, eventually
from change_set_builders import Between, files_of, garbage_of, rows_of, versions_of
from headwater.catalog import segments
from headwater.catalog.core.database import Database
from headwater.catalog.garbage import READERS_LEAVE
from headwater.domain.crawler import Crawler
from headwater.domain.errors import KeyReused, NotFound
from headwater.domain.task import Publish, Task
from headwater.ingest.orphans import delete_orphans
from headwater.lake.segment import LEAST_ROW_GROUP_BYTES
from headwater.lifecycle.deletion import remove_crawler
from headwater.streams import diffs
from headwater.streams.compaction import MOST_OF_OPEN, NEWEST, Compaction, worth_merging
from headwater.streams.views import NOW, View
from lakes import content_of


@pytest.fixture(autouse=True)
def _as_files(world):
    """What is told of files here is true of uploads that are files."""
    world.as_files = True


def _ids(world, path):
    return pq.ParquetFile(pa.BufferReader(content_of(world.store, path))).read(["doc_id"]).column("doc_id").to_pylist()


async def _uploads(world, crawler, *uploads, code=None):
    """A task with these uploads, ids each; their documents tell the upload."""
    task = await world.task(crawler)
    for number, ids in enumerate(uploads):
        await world.upload(task, [{"id": name, "task": task.fid, "n": number} for name in ids])
    if code is not None:
        await world.report(task, code)
    return task


async def _arrivals(world, task, *, limit, between=None):
    """Page through a task's documents; ``between`` happens after the first page."""
    after, found = None, []
    while True:
        page = await world.reader.arrivals(task.fid, after=after, limit=limit)
        assert len(page.docs) <= limit
        found += [json.loads(one.text) for one in page.docs]
        after = page.next_after
        if after is None:
            return found
        if between is not None:
            await between()
            between = None


async def test_an_ended_task_ends_as_one_file_in_order_of_ids(world):
    crawler = await world.crawler()
    task = await _uploads(world, crawler, "dab", "cb", "xa", code=200)
    await world.compact()
    [row] = await rows_of(world, task)
    assert row.is_compact
    assert _ids(world, row.path) == ["a", "a", "b", "b", "c", "d", "x"]
    assert (row.docs, row.min_id, row.max_id) == (7, b"a", b"x")
    await world.purge()
    assert files_of(world) == [row.path]


async def test_of_what_showed_together_only_the_last_of_each_id_is_kept(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await _uploads(world, crawler, "dab", "cb", "xa", code=200)
    await world.compact()
    [row] = await rows_of(world, task)
    assert _ids(world, row.path) == ["a", "b", "c", "d", "x"]
    assert row.whole_version is None
    assert {name: doc["n"] for name, doc in (await world.shown(crawler.stream)).items()} == {
        "a": 2,
        "b": 1,
        "c": 1,
        "d": 0,
        "x": 2,
    }


async def test_a_small_single_upload_is_settled_without_being_rewritten(world):
    crawler = await world.crawler()
    task = await _uploads(world, crawler, "cba", code=200)
    [before] = await rows_of(world, task)
    await world.compact()
    [after] = await rows_of(world, task)
    assert (after.path, after.is_compact) == (before.path, True)
    assert files_of(world) == [before.path]
    assert not await world.compaction.turn()


async def test_a_large_single_upload_is_put_in_order_once(world):
    crawler = await world.crawler()
    pad = "x" * 2_000
    task = await world.done(crawler, [{"id": f"{number * 7919 % 4_000:04}", "pad": pad} for number in range(4_000)])
    [before] = await rows_of(world, task)
    assert before.bytes > LEAST_ROW_GROUP_BYTES
    await world.compact()
    [after] = await rows_of(world, task)
    assert after.path != before.path
    assert _ids(world, after.path) == [f"{number:04}" for number in range(4_000)]
    await world.compact()
    assert await rows_of(world, task) == [after]


async def _live(world):
    crawler = await world.crawler()
    tasks = [
        await _uploads(world, crawler, "ab", "bc", "ad", code=200),
        await _uploads(world, crawler, "ce", "c", code=500),
    ]
    return crawler, tasks


async def _on_success(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    tasks = [await _uploads(world, crawler, "ab", "cd", code=200), await _uploads(world, crawler, "ax", "b", code=200)]
    return crawler, [*tasks, await _uploads(world, crawler, "az", "b", code=500)]


async def _retried(world, publish=Publish.LIVE, *, codes=(500, 200)):
    crawler = await world.crawler(publish=publish)
    await _uploads(world, crawler, "am", "n", code=200)
    task = await _uploads(world, crawler, "ab", "bc")
    for attempt, code in enumerate(codes):
        await world.report(task, code)
        if attempt < len(codes) - 1:
            await world.retry(task)
            for ids in ("bd", "e"):
                await world.upload(task, [{"id": name, "again": attempt} for name in ids])
    return crawler, [task]


async def _put_back(world):
    crawler, tasks = await _live(world)
    for task in (*tasks, tasks[0]):
        await world.delete(task)
        await world.restore(task)
    await world.delete(tasks[1])
    return crawler, tasks


async def _put_back_after_retry(world):
    crawler, tasks = await _retried(world, codes=(500, 500))
    await world.delete(tasks[0])
    await world.restore(tasks[0])
    return crawler, tasks


async def _open(world):
    crawler = await world.crawler()
    await _uploads(world, crawler, "ab", "bc", code=200)
    return crawler, [await _uploads(world, crawler, *(["ab", "bc", "ad"] * 23))]


STORIES = {
    "live": _live,
    "on success": _on_success,
    "retried": _retried,
    "retried on success": partial(_retried, publish=Publish.ON_SUCCESS),
    "retried in vain": partial(_retried, codes=(500, 500)),
    "retried twice": partial(_retried, codes=(500, 500, 200)),
    "deleted and restored": _put_back,
    "deleted and restored after a retry": _put_back_after_retry,
    "open": _open,
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
async def test_whatever_can_be_asked_of_a_stream_is_answered_the_same_after_compaction(world, story):
    crawler, tasks = await story(world)
    stream = crawler.stream
    version = (await world.stream(stream)).stream_version
    some = range(0, version + 1, 1 + version // 7)

    async def answers():
        return (
            [await world.export(stream, one) for one in some],
            [await world.shown(stream, without=[task.fid]) for task in tasks],
            [await world.changes(stream, since) for since in some],
            [await world.changes(stream, 0, view=View(as_of=until)) for until in some],
            [await world.task_diffs.counts(partial(diffs.of_task, fid=task.fid)) for task in tasks],
            [await world.task_diffs.counts_of_moves(partial(diffs.of_delete, fid=task.fid)) for task in tasks],
            [(one.task, one.attempt, one.text) for name in "ab" for one in await world.history(stream, name)],
            # A restored task's documents show together, so that of each id the last alone is kept.
            [{doc["id"]: doc for doc in await _arrivals(world, task, limit=20)} for task in tasks],
        )

    before, files = await answers(), files_of(world)
    await world.compact()
    assert files_of(world) != files
    assert await answers() == before
    assert (await world.stream(stream)).stream_version == version


async def test_merging_again_what_a_restore_brought_back_leaves_what_former_versions_showed(world):
    crawler, tasks = await _live(world)
    await world.compact()
    await world.delete(tasks[0])
    await world.restore(tasks[0])
    before = await versions_of(world, crawler.stream)
    await world.compact()
    assert await versions_of(world, crawler.stream) == before


async def test_a_crowded_open_task_is_merged_while_it_goes_on(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    bodies = [[{"id": f"{number % 40:02}", "n": number}] for number in range(MOST_OF_OPEN + 6)]
    receipts = [await world.upload(task, body, key=str(number)) for number, body in enumerate(bodies)]
    await world.compact()
    assert len(await rows_of(world, task)) <= MOST_OF_OPEN
    for number in (0, 30, MOST_OF_OPEN + 5):
        again = await world.upload(task, bodies[number], key=str(number))
        assert again.replayed
        assert (again.count, again.total, again.bytes) == (1, number + 1, receipts[number].bytes)
        with pytest.raises(KeyReused):
            await world.upload(task, [{"id": "another"}], key=str(number))
    receipt = await world.upload(task, [{"id": "new", "n": -1}, {"id": "00", "n": -1}])
    assert (receipt.count, receipt.total) == (2, MOST_OF_OPEN + 8)
    assert (await world.shown(crawler.stream))["00"]["n"] == -1
    await world.report(task, 200)
    await world.compact()
    [row] = await rows_of(world, task)
    assert row.is_compact
    assert len(await world.shown(crawler.stream)) == 41


async def test_an_open_task_that_is_not_crowded_is_left_alone(world):
    crawler = await world.crawler()
    task = await _uploads(world, crawler, *(["a"] * MOST_OF_OPEN))
    before = await rows_of(world, task)
    assert not await world.compaction.turn()
    assert await rows_of(world, task) == before


async def test_what_waits_for_success_is_merged_while_it_waits_and_shows_when_it_comes(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await _uploads(world, crawler, *(f"a{chr(98 + number % 5)}" for number in range(MOST_OF_OPEN + 6)))
    await world.compact()
    assert len(await rows_of(world, task)) <= MOST_OF_OPEN
    assert await world.shown(crawler.stream) == {}
    await world.report(task, 200)
    shown = await world.shown(crawler.stream)
    assert {name: doc["n"] for name, doc in shown.items()} == {"a": 69, "b": 65, "c": 66, "d": 67, "e": 68, "f": 69}


@pytest.mark.parametrize("limit", [1, 7, 50])
async def test_pages_of_a_tasks_documents_go_on_where_they_were_when_it_is_merged_in_between(world, limit):
    crawler = await world.crawler()
    task = await world.task(crawler)
    for number in range(MOST_OF_OPEN + 6):
        await world.upload(task, [{"id": f"{number % 9}", "n": number}])
    everything = [{"id": f"{number % 9}", "n": number} for number in range(MOST_OF_OPEN + 6)]
    assert await _arrivals(world, task, limit=limit, between=world.compact) == everything
    assert len(await rows_of(world, task)) <= MOST_OF_OPEN
    await world.report(task, 200)
    assert await _arrivals(world, task, limit=limit, between=world.compact) == everything
    assert len(await rows_of(world, task)) == 1


def _grow(uploads, *, docs=1):
    """The sizes of an open task's segments, oldest first, and how many documents were written to merge them."""
    task, base, written = a_task(), 0, 0
    found = []
    for _ in range(uploads):
        found.append(a_segment(task, docs=docs, base=base))
        base += docs
        if len(found) > MOST_OF_OPEN:
            merged = worth_merging(found)
            assert list(merged) == found[len(found) - len(merged) :]
            size = sum(segment.docs for segment in merged)
            written += size
            found[len(found) - len(merged) :] = [a_segment(task, docs=size, base=merged[0].base)]
    return [segment.docs for segment in found], written


@pytest.mark.parametrize("uploads", [65, 100, 500, 2_000, 10_000])
def test_an_open_task_never_has_many_segments_and_writes_a_document_a_few_times_only(uploads):
    sizes, written = _grow(uploads)
    assert sum(sizes) == uploads
    assert len(sizes) <= MOST_OF_OPEN
    assert written / uploads <= 1 + (uploads // NEWEST).bit_length()


def test_sizes_grow_from_the_newest_to_the_oldest():
    for uploads in (500, 2_000, 9_999):
        sizes, _ = _grow(uploads)
        merged = [size for size in sizes if size > 1]
        assert merged == sorted(merged, reverse=True)


def test_of_many_segments_so_many_are_merged_at_a_time_as_can_be():
    task = a_task()
    found = [a_segment(task, docs=1, base=number) for number in range(5_000)]
    assert list(worth_merging(found)) == found[:2_000]


async def test_an_ended_task_of_very_many_uploads_becomes_one_file_in_several_turns(db, tmp_path):
    world = World(db, tmp_path)
    crawler = await world.crawler()
    task = await _uploads(world, crawler, *(["ab"] * 30))
    found = await rows_of(world, task)
    await world.compaction.merge(found[:10], is_last=False)
    before = await versions_of(world, crawler.stream)
    await world.report(task, 200)
    await world.compact()
    [row] = await rows_of(world, task)
    assert row.is_compact
    assert await versions_of(world, crawler.stream) == before
    world.close()


@dataclass(frozen=True, kw_only=True)
class _At:
    """What something happens to."""

    crawler: Crawler
    task: Task


async def _deleted(world, at):
    await world.delete(at.task)
    return {}


async def _put_back_meanwhile(world, at):
    shown = await world.shown(at.crawler.stream)
    await world.delete(at.task)
    await world.restore(at.task)
    return shown


async def _replaced(world, at):
    await world.retry(at.task)
    await world.upload(at.task, [{"id": "z"}])
    await world.report(at.task, 200)
    return {"z": {"id": "z"}}


async def _erased(world, at):
    shown = await world.shown(at.crawler.stream)
    await world.document_erasure.erase(at.crawler.stream, "a")
    del shown["a"]
    return shown


async def _merged(world, at):
    await world.compact()
    return await world.shown(at.crawler.stream)


async def _removed(world, at):
    await world.db.write(remove_crawler, at.crawler.fid, cascade=True, expected=None, vault=world.vault, at=world.at)
    return {}


@pytest.mark.parametrize("happens", [_deleted, _put_back_meanwhile, _replaced, _erased, _merged, _removed])
async def test_what_happens_to_a_task_while_it_is_merged_stands_and_the_merged_file_goes(world, happens):
    crawler = await world.crawler()
    task = await _uploads(world, crawler, "ab", "bc", code=500)
    found = await world.db.read(segments.in_place, task.fid, 1)
    shown = await happens(world, _At(crawler=crawler, task=task))
    rows, files = await rows_of(world, task), files_of(world)
    await world.compaction.merge(found, is_last=True)
    assert (await rows_of(world, task), files_of(world)) == (rows, files)
    assert await world.shown(crawler.stream) == shown


async def test_what_is_published_while_it_is_merged_shows(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await _uploads(world, crawler, "ab", "bc")
    found = await world.db.read(segments.in_place, task.fid, 1)
    await world.report(task, 200)
    files = files_of(world)
    await world.compaction.merge(found, is_last=False)
    assert files_of(world) == files
    assert set(await world.shown(crawler.stream)) == set("abc")


async def test_an_upload_that_comes_while_its_task_is_merged_lies_on_top(world):
    crawler = await world.crawler()
    task = await _uploads(world, crawler, "ab", "bc")
    found = await world.db.read(segments.in_place, task.fid, 1)
    await world.upload(task, [{"id": "a", "n": "new"}, {"id": "d", "n": "new"}])
    await world.compaction.merge(found, is_last=False)
    assert len(await rows_of(world, task)) == 2
    assert {name: doc["n"] for name, doc in (await world.shown(crawler.stream)).items()} == {
        "a": "new",
        "b": 1,
        "c": 1,
        "d": "new",
    }
    assert [doc["n"] for doc in await _arrivals(world, task, limit=2)] == [0, 0, 1, 1, "new", "new"]


@pytest.mark.parametrize("publish", list(Publish))
async def test_a_task_deleted_between_being_found_crowded_and_being_looked_at_hinders_no_other(world, publish):
    crawler = await world.crawler(publish=publish)
    task = await _uploads(world, crawler, *(["a"] * (MOST_OF_OPEN + 1)))

    async def delete():
        await world.delete(task)
        await world.db.write(segments.purge, segments.of_task(task.fid))

    between = Between(world.db, read=delete, named="in_place")
    await Compaction(between, world.engine, world.store, clock=world.clock, leaves_small=False).turn()


async def test_a_task_that_cannot_be_merged_hinders_no_other(world):
    tasks = [await _uploads(world, await world.crawler(), "ab", "bc", code=200) for _ in range(2)]
    for row in await rows_of(world, tasks[0]):
        world.store.delete(row.path)
    for _ in range(3):
        await asyncio.gather(world.compaction.turn(), return_exceptions=True)
    assert len(await rows_of(world, tasks[1])) == 1


IDS = [f"{number:02}" for number in range(30)]


class _Busy:
    """A stream that always shows the same ids, with uploads and compaction going on, and readers who look at it."""

    def __init__(self, world, crawler, task) -> None:
        self.world, self.stream, self.task = world, crawler.stream, task
        self.running = True
        self.uploaded = asyncio.Condition()

    async def upload(self):
        for number in range(MOST_OF_OPEN + 6):
            await self.world.upload(self.task, [{"id": name, "n": number} for name in IDS[number % 3 :: 3]])
            if number % 3 == 0:
                async with self.uploaded:
                    self.uploaded.notify_all()
        await self.world.report(self.task, 200)
        self.running = False
        async with self.uploaded:
            self.uploaded.notify_all()

    async def again_and_again(self, look):
        """Look beside the uploads, once behind each third of them."""
        state = None
        while self.running:
            state = await look(state)
            async with self.uploaded:
                if self.running:
                    await self.uploaded.wait()

    async def compact(self, _):
        await self.world.compaction.turn()

    async def export(self, last):
        docs = [json.loads(line) for line in (await self.world.export(self.stream)).splitlines()]
        assert [doc["id"] for doc in docs] == IDS
        numbers = [doc["n"] for doc in docs]
        assert last is None or all(old <= new for old, new in zip(last, numbers, strict=True))
        return numbers

    async def pages(self, _):
        found, after, view = [], None, NOW
        while True:
            page = await self.world.reader.page(self.stream, view, after=after, limit=7)
            found += [one.id for one in page.docs]
            after, view = page.next_after, View(as_of=page.version)
            if after is None:
                break
        assert found == IDS

    async def one(self, last):
        number = json.loads((await self.world.reader.one(self.stream, NOW, "07")).text)["n"]
        assert last is None or last <= number
        return number

    async def past(self, _):
        docs = await self.world.shown(self.stream, 1)
        assert {doc["n"] for doc in docs.values()} == {-1}
        assert await self.world.shown(self.stream, without=[self.task.fid]) == docs

    async def arrivals(self, _):
        order = [doc["n"] for doc in await _arrivals(self.world, self.task, limit=333)]
        assert order == [place // 10 for place in range(len(order))]


async def test_reading_goes_on_while_uploads_come_and_files_are_merged(world):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": name, "n": -1} for name in IDS])
    busy = _Busy(world, crawler, await world.task(crawler))
    looks = (busy.compact, busy.export, busy.pages, busy.one, busy.past, busy.arrivals)
    await asyncio.gather(busy.upload(), *map(busy.again_and_again, looks))
    await world.compact()
    assert [len(await rows_of(world, task)) for task in (first, busy.task)] == [1, 1]
    assert set(await world.shown(crawler.stream)) == set(IDS)


async def test_two_compactions_at_once_leave_one_merged_file_and_no_stray(world, url):
    other = Database(url)
    second = Compaction(other, world.engine, world.store, clock=world.clock, leaves_small=False)
    crawlers = [await world.crawler() for _ in range(3)]
    tasks = [await _uploads(world, crawler, *(["ab", "cb", "da"] * 3), code=200) for crawler in crawlers]
    before = [await versions_of(world, crawler.stream) for crawler in crawlers]

    async def compact(compaction):
        while await compaction.turn():
            pass

    await asyncio.gather(compact(world.compaction), compact(second))
    other.close()
    rows = await rows_of(world, *tasks)
    assert sorted(row.task for row in rows) == sorted(task.fid for task in tasks)
    assert all(row.is_compact for row in rows)
    assert files_of(world) == sorted([row.path for row in rows] + await garbage_of(world))
    assert len(await garbage_of(world)) == 27
    assert [await versions_of(world, crawler.stream) for crawler in crawlers] == before


async def test_two_processes_that_merge_an_open_task_while_it_goes_on_lose_and_repeat_nothing(world, url):
    other = Database(url)
    second = Compaction(other, world.engine, world.store, clock=world.clock, leaves_small=False)
    crawler = await world.crawler()
    task = await world.task(crawler)
    running, uploaded = True, asyncio.Condition()

    async def upload():
        nonlocal running
        for number in range(2 * MOST_OF_OPEN + 20):
            await world.upload(task, [{"id": f"{number % 50:02}", "n": number}])
            running = number < 2 * MOST_OF_OPEN + 19
            async with uploaded:
                uploaded.notify_all()

    async def compact(compaction):
        while running:
            await compaction.turn()
            async with uploaded:
                if running:
                    await uploaded.wait()
        await compaction.turn()

    await asyncio.gather(upload(), compact(world.compaction), compact(second))
    other.close()
    rows = await rows_of(world, task)
    assert [doc["n"] for doc in await _arrivals(world, task, limit=40)] == list(range(2 * MOST_OF_OPEN + 20))
    assert files_of(world) == sorted([row.path for row in rows] + await garbage_of(world))
    for version in (1, 60, 70, 100, 2 * MOST_OF_OPEN + 20):
        shown = await world.shown(crawler.stream, version)
        assert {int(name): doc["n"] for name, doc in shown.items()} == {n % 50: n for n in range(version)}


async def test_the_files_that_were_merged_wait_an_hour_for_their_readers(world):
    crawler = await world.crawler()
    task = await _uploads(world, crawler, "ab", "bc", code=200)
    old = sorted(row.path for row in await rows_of(world, task))
    await world.compact()
    assert await garbage_of(world) == old
    assert await world.retention.delete_garbage(at=world.at + READERS_LEAVE - timedelta(seconds=1)) == 0
    assert set(old) < set(files_of(world))
    assert await world.retention.delete_garbage(at=world.at + READERS_LEAVE) == 2
    assert files_of(world) == [row.path for row in await rows_of(world, task)]
    assert await garbage_of(world) == []


async def test_the_sweep_leaves_garbage_to_its_readers(world):
    crawler = await world.crawler()
    task = await _uploads(world, crawler, "ab", "bc", code=200)
    await world.compact()
    files = files_of(world)
    assert await delete_orphans(world.db, world.store, at=world.at + timedelta(days=3650)) == []
    assert files_of(world) == files
    await world.retention.delete_garbage(at=world.at + READERS_LEAVE)
    assert await delete_orphans(world.db, world.store, at=world.at + timedelta(days=3650)) == []
    assert files_of(world) == [row.path for row in await rows_of(world, task)]


async def test_a_reader_that_began_before_reads_on_though_the_files_are_merged_away(world):
    crawler = await world.crawler()
    await _uploads(world, crawler, "ab", "bc", code=200)
    documents = await world.reader.documents(crawler.stream, NOW)
    batches = world.reader.batches(documents)
    first = await anext(batches)
    await world.compact()
    await world.retention.delete_garbage(at=world.at)
    assert first.num_rows + sum([batch.num_rows async for batch in batches]) == 3


async def test_a_file_that_a_former_version_names_is_no_garbage(world):
    crawler = await world.crawler()
    task = await _uploads(world, crawler, "ab", "bc", code=200)
    await world.delete(task)
    await world.restore(task)
    await world.compact()
    assert await garbage_of(world) == []
    await world.delete(task)
    await world.compact()
    await world.retention.delete_garbage(at=world.at + timedelta(days=1))
    assert set(await world.shown(crawler.stream, 2)) == set("abc")
    assert await world.shown(crawler.stream, 3) == {}
    assert set(await world.shown(crawler.stream, 4)) == set("abc")


async def test_what_is_deleted_or_waits_in_vain_is_left_alone(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    failed = await _uploads(world, crawler, "ab", "bc", code=500)
    deleted = await _uploads(world, crawler, "ab", "bc", code=200)
    await world.delete(deleted)
    before = await rows_of(world, failed, deleted)
    assert not await world.compaction.turn()
    assert await rows_of(world, failed, deleted) == before


async def test_a_running_compaction_merges_what_ends(world):
    crawler = await world.crawler()
    running = asyncio.create_task(world.compaction.run())
    task = await _uploads(world, crawler, "ab", "bc", code=200)

    async def merged() -> bool:
        return len(await rows_of(world, task)) == 1

    await eventually(merged)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_deleted_crawlers_merged_file_goes_with_it(world):
    crawler = await world.crawler()
    task = await _uploads(world, crawler, "ab", "bc", code=200)
    await world.compact()
    await _removed(world, _At(crawler=crawler, task=task))
    await world.retention.delete_garbage(at=world.at + READERS_LEAVE)
    assert files_of(world) == []
    with pytest.raises(NotFound):
        await world.reader.arrivals(task.fid, after=None, limit=1)
