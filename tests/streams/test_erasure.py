import asyncio
import json
import random
from datetime import timedelta
from functools import partial

import pytest

from builders import a_stream, an_external
from change_set_builders import (
    Between,
    Holding,
    files_of,
    garbage_of,
    on,
    rows_of,
    telling,
    versions_of,
)
from headwater.catalog import segment_tables, segments, streams
from headwater.catalog.garbage import READERS_LEAVE
from headwater.domain.errors import MovedMeanwhile, NotFound
from headwater.domain.stream import Change
from headwater.domain.task import Publish
from headwater.streams import diffs
from headwater.streams.erasure import TRIES, DocumentErasure
from headwater.streams.views import View


@pytest.fixture(autouse=True)
def _as_files(world):
    """What is told of files here is true of uploads that are files."""
    world.as_files = True


#: The id of the document that is to be erased, and a word that stands in it alone.
ERASED = "mallory@example.org"
SECRET = "whisper-42"


def _secret(**fields):
    return {"id": ERASED, "text": SECRET} | fields


def _eraser(world, db=None):
    return DocumentErasure(db or world.db, world.engine, world.store, clock=world.clock)


async def _empty(world):
    """Let the readers go, and delete what they had open."""
    await world.retention.delete_garbage(at=world.at + READERS_LEAVE)


async def _everywhere(world, crawler):
    """The document in every kind of place: covered, merged, deleted, restored, failed, replaced, waiting."""
    await world.done(crawler, [_secret(v=1), {"id": "a"}])
    merged = await world.task(crawler)
    for number in range(3):
        await world.upload(merged, [_secret(v=number), {"id": f"b{number}"}])
    await world.report(merged, 200)
    deleted = await world.done(crawler, [{"id": "z"}, _secret(v="deleted")])
    await world.delete(deleted)
    restored = await world.task(crawler)
    for number in range(2):
        await world.upload(restored, [_secret(v=f"restored {number}"), {"id": f"d{number}"}])
    await world.report(restored, 200)
    await world.delete(restored)
    await world.restore(restored)
    await world.compact()
    retried = await world.task(crawler)
    await world.upload(retried, [_secret(v="first attempt"), {"id": "e"}])
    await world.report(retried, 500)
    await world.retry(retried)
    await world.upload(retried, [_secret(v="second attempt"), {"id": "f"}])
    await world.report(retried, 200)
    running = await world.task(crawler)
    await world.upload(running, [_secret(v="running"), {"id": "g"}])
    await world.upload(running, [{"id": "h"}])
    return [merged, deleted, restored, retried, running]


@pytest.mark.parametrize("publish", list(Publish))
async def test_the_text_is_in_no_file_any_more_once_the_readers_are_gone(world, publish):
    crawler = await world.crawler(publish=publish)
    tasks = await _everywhere(world, crawler)
    assert telling(world, SECRET)
    erased = await world.document_erasure.erase(crawler.stream, ERASED)
    stream = await world.stream(crawler.stream)
    assert erased.version == stream.stream_version
    await _empty(world)
    assert telling(world, SECRET) == []
    assert telling(world, ERASED) == []
    rows = await rows_of(world, *tasks)
    assert not {ERASED.encode()} & {bound for row in rows for bound in (row.min_id, row.max_id)}
    assert {row.path for row in rows} <= set(files_of(world))


@pytest.mark.parametrize("publish", list(Publish))
async def test_no_version_shows_it_and_all_else_stays_as_it_was(world, publish):
    crawler = await world.crawler(publish=publish)
    tasks = await _everywhere(world, crawler)
    before = await versions_of(world, crawler.stream)
    await world.document_erasure.erase(crawler.stream, ERASED)
    await _empty(world)
    expected = [
        b"".join(line for line in one.splitlines(keepends=True) if SECRET.encode() not in line) for one in before
    ]
    assert await versions_of(world, crawler.stream) == [*expected, expected[-1]]
    with pytest.raises(NotFound):
        await world.reader.one(crawler.stream, View(), ERASED)
    with pytest.raises(NotFound):
        await world.history(crawler.stream, ERASED)
    for task in tasks:
        page = await world.reader.arrivals(task.fid, after=None, limit=50)
        assert all(found.id != ERASED for found in page.docs)
    await world.restore(tasks[1])
    await world.report(tasks[-1], 200)
    await world.compact()
    shown = await world.shown(crawler.stream)
    assert ERASED not in shown
    assert {"z", "g", "h"} <= set(shown)


async def test_an_open_task_goes_on_after_its_document_was_erased(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "n": 0}, _secret(n=1), {"id": "b", "n": 2}])
    await world.upload(task, [_secret(n=3)])
    await world.document_erasure.erase(crawler.stream, ERASED)
    receipt = await world.upload(task, [{"id": "c", "n": 4}])
    assert receipt.total == 5
    found, after = [], None
    while True:
        page = await world.reader.arrivals(task.fid, after=after, limit=1)
        found += [json.loads(one.text)["n"] for one in page.docs]
        after = page.next_after
        if after is None:
            break
    assert found == [0, 2, 4]
    await world.report(task, 200)
    before = await versions_of(world, crawler.stream)
    await world.compact()
    assert await versions_of(world, crawler.stream) == before
    assert len(await rows_of(world, task)) == 1


async def test_a_segment_that_held_nothing_else_disappears(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [_secret()])
    await world.upload(task, [{"id": "a"}])
    await world.document_erasure.erase(crawler.stream, ERASED)
    [row] = await rows_of(world, task)
    assert (row.min_id, row.max_id, row.docs) == (b"a", b"a", 1)
    await _empty(world)
    assert files_of(world) == [row.path]


async def test_of_a_task_that_brought_nothing_else_nothing_is_left_to_show_or_restore(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [_secret()])
    await world.delete(task)
    await world.document_erasure.erase(crawler.stream, ERASED)
    assert await rows_of(world, task) == []
    await world.restore(task)
    assert await world.shown(crawler.stream) == {}
    assert (await world.task_diffs.counts_of_moves(partial(diffs.of_delete, fid=task.fid))).removed == 0


async def test_the_log_has_a_line_without_the_id(world):
    crawler = await world.crawler()
    await world.done(crawler, [_secret(), {"id": "a"}])
    await world.done(crawler, [_secret()])
    erased = await world.document_erasure.erase(crawler.stream, ERASED)
    line = (await world.db.read(streams.log, crawler.stream, before=None, limit=1))[0]
    assert (line.change, line.version, line.docs, line.task, line.tasks) == (
        Change.ERASE,
        erased.version,
        2,
        None,
        None,
    )
    assert ERASED not in repr(line)


async def test_the_readers_of_the_former_files_have_an_hour(world):
    crawler = await world.crawler()
    await world.done(crawler, [_secret(), {"id": "a"}])
    documents = await world.reader.documents(crawler.stream, View())
    old = files_of(world)
    await world.document_erasure.erase(crawler.stream, ERASED)
    assert await garbage_of(world) == old
    await world.retention.delete_garbage(at=world.at + READERS_LEAVE - timedelta(seconds=1))
    assert set(old) < set(files_of(world))
    assert sum([batch.num_rows async for batch in world.reader.batches(documents)]) == 1


async def test_another_stream_keeps_its_document_of_that_id(world):
    crawler, other = await world.crawler(), await world.crawler()
    await world.done(crawler, [_secret()])
    await world.done(other, [_secret(v="other")])
    await world.document_erasure.erase(crawler.stream, ERASED)
    assert (await world.shown(other.stream))[ERASED]["v"] == "other"
    assert (await world.stream(other.stream)).stream_version == 1


@pytest.mark.parametrize("name", ["nobody", "", "a\0", "zz"])
async def test_what_the_stream_does_not_hold_is_not_found_and_changes_nothing(world, name):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}, {"id": "z"}])
    files = files_of(world)
    with pytest.raises(NotFound, match="holds no document"):
        await world.document_erasure.erase(crawler.stream, name)
    with pytest.raises(NotFound, match="there is no stream"):
        await world.document_erasure.erase(a_stream().fid, "a")
    assert (files_of(world), (await world.stream(crawler.stream)).stream_version) == (files, 1)


async def test_what_is_erased_can_be_erased_once(world):
    crawler = await world.crawler()
    await world.done(crawler, [_secret()])
    await world.document_erasure.erase(crawler.stream, ERASED)
    with pytest.raises(NotFound):
        await world.document_erasure.erase(crawler.stream, ERASED)


@pytest.mark.parametrize("name", ["", "a\0b", "ü😀", "'; DROP", "a" * 129, "\uffff" * 100])
async def test_any_text_can_be_erased(world, name):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": name}, {"id": "other"}])
    await world.document_erasure.erase(crawler.stream, name)
    assert set(await world.shown(crawler.stream)) == {"other"}
    assert await world.changes(crawler.stream, 1) == (
        2,
        [{"id": name, "op": "delete", "doc": None, "task": None}],
    )


@on("postgres")
async def test_a_long_id_can_be_erased(world):
    rng = random.Random(7)
    name = "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(2_000))
    crawler = await world.crawler()
    await world.done(crawler, [{"id": name}, {"id": "other"}])
    await world.document_erasure.erase(crawler.stream, name)
    assert set(await world.shown(crawler.stream)) == {"other"}


async def test_those_who_follow_are_told_of_a_delete_once(world):
    crawler = await world.crawler()
    await world.done(crawler, [_secret(), {"id": "a"}])
    erased = await world.document_erasure.erase(crawler.stream, ERASED)
    delete = {"id": ERASED, "op": "delete", "doc": None, "task": None}
    assert await world.changes(crawler.stream, 1) == (erased.version, [delete])
    await world.done(crawler, [{"id": "b"}])
    version, changes = await world.changes(crawler.stream, 1)
    assert sorted(change["id"] for change in changes) == ["b", ERASED]
    version, changes = await world.changes(crawler.stream, erased.version)
    assert [change["id"] for change in changes] == ["b"]
    assert await world.changes(crawler.stream, version) == (version, [])


async def test_those_who_follow_are_not_told_of_what_was_uploaded_again_since(world):
    crawler = await world.crawler()
    await world.done(crawler, [_secret()])
    await world.document_erasure.erase(crawler.stream, ERASED)
    again = await world.done(crawler, [{"id": ERASED, "text": "new"}])
    assert [(one["op"], one["doc"]["text"]) for one in (await world.changes(crawler.stream, 1))[1]] == [
        ("upsert", "new")
    ]
    await world.delete(again)
    assert [one["op"] for one in (await world.changes(crawler.stream, 1))[1]] == ["delete"]
    assert [one["op"] for one in (await world.changes(crawler.stream, 3))[1]] == ["delete"]
    await world.document_erasure.erase(crawler.stream, ERASED)
    assert [one["op"] for one in (await world.changes(crawler.stream, 1))[1]] == ["delete"]


async def test_who_never_saw_the_document_is_not_told_its_id(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    await world.done(crawler, [_secret()])
    await world.document_erasure.erase(crawler.stream, ERASED)
    for since in (0, 1):
        _, changes = await world.changes(crawler.stream, since)
        assert ERASED not in {change["id"] for change in changes}


async def test_who_was_told_before_that_it_went_is_not_told_again(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [_secret(), {"id": "a"}])
    await world.delete(task)
    await world.document_erasure.erase(crawler.stream, ERASED)
    assert await world.changes(crawler.stream, 2) == (3, [])


async def test_the_versions_that_were_erased_are_those_that_history_told(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    for number in range(2):
        await world.upload(task, [_secret(v=number), {"id": "a"}])
    await world.report(task, 200)
    await world.delete(task)
    await world.restore(task)
    await world.compact()
    told = await world.history(crawler.stream, ERASED)
    assert len(told) == 2
    assert (await world.document_erasure.erase(crawler.stream, ERASED)).docs == 2


async def _uploaded(world, crawler, _task):
    await world.done(crawler, [_secret(v="late"), {"id": "late"}])
    return {"late"}


async def _merged(world, _crawler, _task):
    await world.compact()
    return set()


async def _deleted(world, _crawler, task):
    await world.delete(task)
    return set()


async def _put_back(world, _crawler, task):
    await world.delete(task)
    await world.restore(task)
    await world.compact()
    return set()


async def _erased(world, crawler, _task):
    await world.document_erasure.erase(crawler.stream, ERASED)
    return set()


@pytest.mark.parametrize("happens", [_uploaded, _merged, _put_back])
async def test_what_comes_in_between_makes_it_begin_anew_and_leaves_no_stray(world, happens):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [_secret(), {"id": "a"}])
    await world.upload(task, [_secret(), {"id": "b"}])
    await world.report(task, 200)
    between = Between(world.db, write=partial(happens, world, crawler, task))
    await _eraser(world, between).erase(crawler.stream, ERASED)
    assert set(await world.shown(crawler.stream)) >= {"a", "b"}
    assert ERASED not in await world.shown(crawler.stream)
    await _empty(world)
    assert telling(world, SECRET) == []
    tasks = {path.split("task=")[1].split("/")[0] for path in files_of(world)}
    rows = await world.db.read(
        lambda tx: [segment_tables.holding(tx, crawler.stream, name).segments for name in ("a", "b", "late")]
    )
    assert set(files_of(world)) == {row.path for found in rows for row in found}
    assert task.fid in tasks


async def test_a_task_that_is_deleted_in_between_stays_deleted_and_is_erased(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [_secret(), {"id": "a"}])
    between = Between(world.db, write=partial(_deleted, world, crawler, task))
    await _eraser(world, between).erase(crawler.stream, ERASED)
    assert await world.shown(crawler.stream) == {}
    await world.restore(task)
    assert set(await world.shown(crawler.stream)) == {"a"}
    await _empty(world)
    assert telling(world, SECRET) == []


async def test_of_two_who_erase_the_same_the_second_finds_nothing(world):
    crawler = await world.crawler()
    await world.done(crawler, [_secret(), {"id": "a"}])
    between = Between(world.db, write=partial(_erased, world, crawler, None))
    with pytest.raises(NotFound):
        await _eraser(world, between).erase(crawler.stream, ERASED)
    await _empty(world)
    assert telling(world, SECRET) == []
    assert len(files_of(world)) == 1


async def test_two_who_erase_different_documents_at_once_both_do(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": f"{number}"} for number in range(8)])
    await asyncio.gather(*(_eraser(world).erase(crawler.stream, f"{number}") for number in range(5)))
    assert set(await world.shown(crawler.stream)) == {"5", "6", "7"}
    await _empty(world)
    assert len(files_of(world)) == 1


async def test_where_the_document_keeps_coming_what_was_there_is_erased_and_what_came_meanwhile_stays(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [_secret(v="what was there"), {"id": "a"}])
    between = Between(
        world.db, write=partial(world.upload, task, [_secret(v="meanwhile")]), named="_exchange", times=TRIES
    )
    await _eraser(world, between).erase(crawler.stream, ERASED)
    await _empty(world)
    assert telling(world, "what was there") == []
    assert (await world.shown(crawler.stream))[ERASED]["v"] == "meanwhile"
    assert files_of(world) == sorted(row.path for row in await rows_of(world, task))


async def test_it_gives_up_when_files_are_merged_again_and_again_and_leaves_no_stray(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [_secret(), {"id": "a"}])

    async def merge():
        await world.compaction.merge(await world.db.read(segments.in_place, task.fid, 1), is_last=False)

    between = Between(world.db, write=merge, named="_exchange", times=TRIES)
    with pytest.raises(MovedMeanwhile, match="try again"):
        await _eraser(world, between).erase(crawler.stream, ERASED)
    await _empty(world)
    assert files_of(world) == [row.path for row in await rows_of(world, task)]
    assert (await world.stream(crawler.stream)).stream_version == 1
    await world.document_erasure.erase(crawler.stream, ERASED)
    assert set(await world.shown(crawler.stream)) == {"a"}


async def test_a_crawl_that_never_pauses_does_not_keep_a_document_from_being_erased(world):
    crawler = await world.crawler()
    pad = "x" * 200
    await world.done(crawler, [_secret(), *({"id": f"{number:05}", "pad": pad} for number in range(20_000))])
    task = await world.task(crawler)
    running = True

    async def upload():
        while running:
            await world.upload(task, [{"id": "a"}, {"id": "z"}])

    loading = [asyncio.create_task(upload()) for _ in range(2)]
    try:
        await _eraser(world).erase(crawler.stream, ERASED)
    finally:
        running = False
        await asyncio.gather(*loading)
    assert ERASED not in await world.shown(crawler.stream)
    await _empty(world)
    assert telling(world, SECRET) == []


async def test_uploads_and_compaction_go_on_beside_it(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [_secret(), {"id": "zz"}])
    running = True

    async def upload(name):
        for number in range(25):
            await world.upload(task, [{"id": f"{name}{number:02}"}])

    async def compact():
        while running:
            for one in (world.compaction.turn(), asyncio.sleep(0.01)):
                await one

    compacting = asyncio.create_task(compact())
    loading = [asyncio.create_task(upload(name)) for name in "abxy"]
    erased = await world.document_erasure.erase(crawler.stream, ERASED)
    await asyncio.gather(*loading)
    running = False
    await compacting
    assert erased.docs == 1
    assert len(await world.shown(crawler.stream)) == 101
    await _empty(world)
    assert telling(world, SECRET) == []
    assert files_of(world) == sorted(row.path for row in await rows_of(world, task))


@on("postgres")
async def test_a_file_that_is_merged_while_the_exchange_is_under_way_is_not_missed(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [_secret(), {"id": "a"}])
    await world.upload(task, [{"id": "b"}])
    await world.report(task, 200)
    await world.delete(task)
    await world.restore(task)
    holding = Holding(world.db, before="UPDATE segments")
    async with holding.at_rest(_eraser(world, holding).erase(crawler.stream, ERASED)):
        await asyncio.wait([asyncio.create_task(world.compact())], timeout=2)
    await world.compact()
    await _empty(world)
    assert telling(world, SECRET) == []
    assert ERASED not in await world.shown(crawler.stream)


async def test_what_is_garbage_already_is_gone_with_its_hour(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    for number in range(2):
        await world.upload(task, [_secret(v=number), {"id": "a"}])
    await world.report(task, 200)
    await world.compact()
    await world.document_erasure.erase(crawler.stream, ERASED)
    assert len(telling(world, SECRET)) == 3
    await _empty(world)
    assert telling(world, SECRET) == []


STRICT = {"type": "object", "properties": {"n": {"type": "integer"}}}


async def test_what_was_kept_aside_of_an_erased_document_is_erased_too(world):
    crawler = await world.crawler(external=an_external(schema=STRICT))
    task = await world.task(crawler)
    lines = [
        b'{"id": "ann", "n": 1}',  # taken
        b'{"id": "ann", "n": "secret"}',
        b'{"id": "ann", "n": ',
        b'{"n": "secret", "of": "ann"}',  # without an id of its own
        b'{"n": "secret", "id": {"name": "ann"}}',
        b'{"id": "anna", "n": "x"}',
        b'{"id": "bob", "n": "x", "knows": "ann"}',
        b"annotation",
    ]
    await world.upload(task, b"\n".join(lines), lenient=True, key="k")
    erased = await world.document_erasure.erase(crawler.stream, "ann")
    assert (erased.docs, erased.rejects) == (1, 4)
    assert [reject.raw for reject in await world.rejects(task)] == lines[5:]
    assert (await world.now(task)).rejected == 3
    again = await world.upload(task, b"\n".join(lines), lenient=True, key="k")
    assert (again.rejected, again.flaws, again.truncated, again.replayed) == (7, (), True, True)


async def test_a_document_of_which_nothing_was_ever_taken_can_be_erased(world):
    crawler = await world.crawler(external=an_external(schema=STRICT))
    task = await world.task(crawler)
    await world.upload(task, b'{"id": "\\u00fc", "n": "secret"}\n{"id": "b"}\n', lenient=True)
    version = (await world.stream(crawler.stream)).stream_version
    erased = await world.document_erasure.erase(crawler.stream, "ü")
    assert (erased.docs, erased.rejects, erased.version) == (0, 1, version)
    assert await world.rejects(task) == []
    with pytest.raises(NotFound):
        await world.document_erasure.erase(crawler.stream, "ü")


async def test_what_other_streams_kept_aside_is_left_alone(world):
    here, there = [await world.crawler(external=an_external(schema=STRICT)) for _ in range(2)]
    tasks = [await world.task(crawler) for crawler in (here, there)]
    for task in tasks:
        await world.upload(task, b'{"id": "a", "n": "x"}\n', lenient=True)
    await world.document_erasure.erase(here.stream, "a")
    assert [len(await world.rejects(task)) for task in tasks] == [0, 1]


async def test_a_document_that_no_version_has_shown_is_erased(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await world.task(crawler)
    await world.upload(task, [_secret(), {"id": "a"}])
    await world.report(task, 500)
    await _eraser(world).erase(crawler.stream, ERASED)
    await _empty(world)
    assert telling(world, SECRET) == []
