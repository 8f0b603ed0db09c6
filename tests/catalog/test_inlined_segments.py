from datetime import timedelta

import pytest
from sqlalchemy import select

from builders import body_of
from change_set_builders import files_of, rows_of, versions_of
from headwater.catalog import inlined_segments, tables
from headwater.catalog.garbage import READERS_LEAVE
from headwater.domain.errors import TaskClosed
from headwater.domain.stream import is_inlined
from headwater.domain.task import Publish
from headwater.streams.compaction import MOST_INLINED, READERS_FETCH

#: Of the versions of a heap, one in so many is read.
STEP = 16


@pytest.fixture(autouse=True)
def _inlined(world):
    world.as_files = False


async def kept(world):
    """The paths of what the catalog keeps."""
    return sorted(await world.db.read(lambda tx: tx.execute(select(tables.inlined.c.path)).scalars().all()))


async def a_heap(world, count, publish=Publish.LIVE):
    """An open task of so many small uploads, which write over each other."""
    task = await world.task(await world.crawler(publish=publish))
    for number in range(count):
        await world.upload(task, [{"id": f"{number % 7}", "n": number}, {"id": f"own {number}", "n": number}])
    return task


async def test_what_is_kept_is_found_by_its_path(world):
    for name in "abc":
        await world.db.write(inlined_segments.add, name, name.encode() * 2)
    assert await world.db.read(inlined_segments.packed, ["a", "c", "nowhere"]) == {"a": b"aa", "c": b"cc"}
    await world.db.write(inlined_segments.forget, ["a", "b"])
    assert await kept(world) == ["c"]


async def test_a_small_upload_is_a_row_and_no_file(world):
    task = await world.done(await world.crawler(), [{"id": "a"}])
    [row] = await rows_of(world, task)
    assert is_inlined(row.path)
    assert await kept(world) == [row.path]
    assert files_of(world) == []
    assert await world.shown(task.stream) == {"a": {"id": "a"}}


async def test_a_refused_upload_leaves_nothing(world):
    task = await world.task(await world.crawler())
    await world.report(task, 200)
    with pytest.raises(TaskClosed):  # by the transaction: it was open when the upload began
        await world.inlining.take(task, body_of(b'{"id": "b"}'))
    assert await kept(world) == []


async def test_a_task_that_ended_becomes_a_file_however_small_it_is(world):
    task = await world.done(await world.crawler(), [{"id": "b"}, {"id": "a"}])
    before = await versions_of(world, task.stream)
    await world.compact()
    [row] = await rows_of(world, task)
    assert (is_inlined(row.path), row.is_compact) == (False, True)
    assert files_of(world) == [row.path]
    assert await versions_of(world, task.stream) == before


async def test_what_was_merged_is_kept_for_those_who_are_about_to_fetch_it_and_then_forgotten(world):
    await world.done(await world.crawler(), [{"id": "a"}])
    [path] = await kept(world)
    await world.compact()
    await world.retention.delete_garbage(at=world.at + READERS_FETCH - timedelta(seconds=1))
    assert await kept(world) == [path]
    await world.retention.delete_garbage(at=world.at + READERS_FETCH)
    assert await kept(world) == []


@pytest.mark.parametrize("publish", list(Publish))
async def test_a_heap_of_small_uploads_becomes_one_file_while_the_task_goes_on(world, publish):
    task = await a_heap(world, MOST_INLINED + 1, publish)
    before = await versions_of(world, task.stream, step=STEP)
    await world.compact()
    [row] = await rows_of(world, task)
    assert (is_inlined(row.path), row.is_compact, row.docs) == (False, False, 2 * (MOST_INLINED + 1))
    assert await versions_of(world, task.stream, step=STEP) == before
    await world.upload(task, [{"id": "0", "n": "last"}])
    await world.report(task, 200)
    assert (await world.shown(task.stream))["0"]["n"] == "last"
    await world.compact()
    assert (await versions_of(world, task.stream, step=STEP))[: len(before)] == before
    assert len(await rows_of(world, task)) == 1


async def test_a_heap_that_is_not_large_yet_is_left(world):
    task = await a_heap(world, MOST_INLINED)
    await world.compact()
    assert len(await kept(world)) == MOST_INLINED
    assert len(await rows_of(world, task)) == MOST_INLINED


async def test_only_what_came_one_behind_the_other_becomes_one_file(world):
    task = await a_heap(world, 3)
    world.as_files = True
    await world.upload(task, [{"id": "0", "n": "file"}])
    world.as_files = False
    for number in range(MOST_INLINED):
        await world.upload(task, [{"id": f"{number % 5}", "n": f"after {number}"}])
    before = await versions_of(world, task.stream, step=STEP)
    await world.compact()
    rows = await rows_of(world, task)
    assert [row.docs for row in rows] == [6, 1, MOST_INLINED]
    assert not any(is_inlined(row.path) for row in rows)
    assert await versions_of(world, task.stream, step=STEP) == before


async def test_a_deleted_task_comes_back_without_having_been_a_file(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a", "by": "first"}])
    task = await world.done(crawler, [{"id": "a", "by": "second"}])
    await world.delete(task)
    assert (await world.shown(crawler.stream))["a"]["by"] == "first"
    await world.restore(task)
    assert (await world.shown(crawler.stream))["a"]["by"] == "second"


async def test_what_is_purged_is_forgotten(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    [left] = await kept(world)
    await world.delete(await world.done(crawler, [{"id": "b"}]))
    await world.purge()
    assert await kept(world) == [left]


async def test_what_is_erased_is_in_no_row_any_more(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}, {"id": "secret"}])
    await world.document_erasure.erase(crawler.stream, "secret")
    assert await world.shown(crawler.stream) == {"a": {"id": "a"}}
    await world.retention.delete_garbage(at=world.at + READERS_LEAVE)
    assert await kept(world) == []
    [row] = await rows_of(world, task)
    assert files_of(world) == [row.path]
