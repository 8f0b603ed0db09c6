import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from builders import AT
from change_set_builders import Between, Holding, files_of, garbage_of, on, rows_of, telling, versions_of
from headwater.catalog import tables
from headwater.catalog.garbage import READERS_LEAVE
from headwater.domain.errors import TaskPurged, VersionForgotten
from headwater.domain.task import Publish
from headwater.lifecycle import tasks as task_actions
from headwater.streams.counters import DocumentCounter
from headwater.streams.retention import Purged, Retention
from lakes import needs_directory


@pytest.fixture(autouse=True)
def _as_files(world):
    """What is told of files here is true of uploads that are files."""
    world.as_files = True


KEEP = timedelta(days=30)


async def _done(world, crawler, word, *, ids="ab"):
    """A task whose documents hold a word that stands nowhere else."""
    return await world.done(crawler, [{"id": name, "text": word} for name in ids])


async def test_exactly_what_was_removed_before_the_moment_is_purged(world):
    crawler = await world.crawler()
    tasks = [await _done(world, crawler, f"word{number}") for number in range(3)]
    await world.delete(tasks[0])
    moment = world.at
    await world.delete(tasks[1])
    assert await world.purge(before=moment) == Purged(streams=1, docs=2, files=1)
    assert [bool(telling(world, f"word{number}")) for number in range(3)] == [False, True, True]
    assert await rows_of(world, tasks[0]) == []
    assert (await world.stream(crawler.stream)).purged_version == 4
    with pytest.raises(TaskPurged):
        await world.restore(tasks[0])
    await world.restore(tasks[1])
    assert {doc["text"] for doc in (await world.shown(crawler.stream)).values()} == {"word2"}


async def test_a_moment_earlier_it_is_not(world):
    crawler = await world.crawler()
    task = await _done(world, crawler, "word")
    await world.delete(task)
    purged = await world.purge(before=world.at - timedelta(microseconds=1))
    assert (purged.docs, purged.files) == (0, 0)
    await world.restore(task)
    assert set(await world.shown(crawler.stream)) == {"a", "b"}


async def test_versions_before_are_refused_with_the_first_that_can_be_asked_for_and_its_time(world):
    crawler = await world.crawler()
    task = await _done(world, crawler, "word")
    await _done(world, crawler, "other", ids="bc")
    await world.delete(task)
    removed_at = world.at
    await _done(world, crawler, "third", ids="d")
    before = await versions_of(world, crawler.stream)
    await world.purge(before=removed_at)
    for version in (1, 2):
        for asked in (
            world.shown(crawler.stream, version),
            world.changes(crawler.stream, version),
        ):
            with pytest.raises(VersionForgotten, match=f"version {version} is purged") as refused:
                await asked
            assert f"version 3 ({removed_at:%Y-%m-%dT%H:%M:%SZ}) or a later one" in refused.value.detail
    assert [await world.export(crawler.stream, version) for version in (0, 3, 4)] == [before[0], before[3], before[4]]


async def test_a_purged_version_is_refused_rather_than_shown_in_part(world):
    crawler = await world.crawler()
    task = await _done(world, crawler, "word")
    await world.delete(task)
    await _done(world, crawler, "other", ids="c")
    await world.purge()
    with pytest.raises(VersionForgotten):
        await world.export(crawler.stream, 1)
    assert set(await world.shown(crawler.stream)) == {"c"}


async def test_one_purged_task_cannot_be_restored_and_its_summary_stays(world):
    crawler = await world.crawler()
    task = await _done(world, crawler, "word")
    await DocumentCounter(world.db, world.engine).turn()
    summary = (await world.now(task)).summary
    assert summary.added == 2
    await world.delete(task)
    await world.purge()
    with pytest.raises(TaskPurged, match="cannot come back"):
        await world.restore(task)
    await DocumentCounter(world.db, world.engine).turn()
    stored = await world.now(task)
    assert (stored.summary, stored.removed_at is not None) == (summary, True)


async def test_many_are_restored_but_for_the_purged_ones_which_are_named(world):
    crawler = await world.crawler()
    old, young = await _done(world, crawler, "old"), await _done(world, crawler, "young", ids="xy")
    await world.delete(old)
    moment = world.at
    await world.delete(young)
    await world.purge(before=moment)
    moved = await world.restore_all(crawler.stream)
    assert (moved.tasks, moved.purged) == ([young.fid], [old.fid])
    assert set(await world.shown(crawler.stream)) == {"x", "y"}
    again = await world.restore_all(crawler.stream)
    assert (again.tasks, again.version, again.purged) == ([], None, [old.fid])


async def test_what_a_retry_replaced_is_purged_and_the_task_stays(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "text": "first"}])
    await world.report(task, 500)
    await world.retry(task)
    await world.upload(task, [{"id": "a", "text": "second"}])
    await world.report(task, 200)
    assert await world.purge() == Purged(streams=1, docs=1, files=1)
    assert telling(world, "first") == []
    assert (await world.shown(crawler.stream))["a"]["text"] == "second"
    await world.delete(task)
    await world.restore(task)
    assert (await world.shown(crawler.stream))["a"]["text"] == "second"


async def test_the_file_of_a_restored_task_that_a_removed_row_names_too_is_kept(world):
    crawler = await world.crawler()
    task = await _done(world, crawler, "word")
    await world.delete(task)
    await world.restore(task)
    assert len(await rows_of(world, task)) == 2
    assert await world.purge() == Purged(streams=1, docs=0, files=0)
    [row] = await rows_of(world, task)
    assert files_of(world) == [row.path]
    assert set(await world.shown(crawler.stream)) == {"a", "b"}
    await world.delete(task)
    assert (await world.purge()).files == 1
    assert files_of(world) == []


async def test_the_old_files_of_a_task_that_was_restored_and_merged_go_and_the_merged_one_stays(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    for number in range(3):
        await world.upload(task, [{"id": "a", "n": number}, {"id": f"b{number}"}])
    await world.report(task, 200)
    await world.delete(task)
    await world.restore(task)
    await world.compact()
    assert (await world.purge()).files == 3
    [row] = await rows_of(world, task)
    assert files_of(world) == [row.path]
    assert set(await world.shown(crawler.stream)) == {"a", "b0", "b1", "b2"}


async def test_files_wait_an_hour_for_their_readers(world):
    crawler = await world.crawler()
    task = await _done(world, crawler, "word")
    documents_at = (await world.stream(crawler.stream)).stream_version
    await world.delete(task)
    world.wait(days=31)
    await world.retention.turn()
    assert files_of(world) == await garbage_of(world)
    assert len(files_of(world)) == documents_at
    world.wait(minutes=59)
    await world.retention.turn()
    assert telling(world, "word")
    world.wait(minutes=1)
    await world.retention.turn()
    assert (files_of(world), await garbage_of(world)) == ([], [])


async def test_a_turn_purges_what_is_older_than_the_retention(world):
    crawler = await world.crawler()
    task = await _done(world, crawler, "word")
    await world.delete(task)
    removed_at = world.at
    world.at = removed_at + KEEP - timedelta(seconds=1)
    await world.retention.turn()
    await world.restore(task)
    await world.delete(task)
    world.at += KEEP
    await world.retention.turn()
    with pytest.raises(TaskPurged):
        await world.restore(task)


async def test_what_waited_in_vain_for_success_is_purged_by_its_age(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    failed = await world.task(crawler)
    await world.upload(failed, [{"id": "a", "text": "failed"}])
    await world.report(failed, 500)
    ended = world.at
    retried = await world.task(crawler)
    await world.upload(retried, [{"id": "a", "text": "first"}])
    await world.report(retried, 500)
    await world.retry(retried)
    await world.upload(retried, [{"id": "a", "text": "second"}])
    purged = await world.purge(before=ended - timedelta(microseconds=1))
    assert purged == Purged()
    assert await world.purge(before=ended) == Purged(docs=1, files=1)
    assert telling(world, "failed") == []
    assert await world.purge() == Purged(docs=1, files=1)
    assert telling(world, "first") == []
    await world.report(retried, 200)
    assert (await world.shown(crawler.stream))["a"]["text"] == "second"


async def test_what_still_waits_for_success_is_kept_however_old(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}])
    world.wait(days=365)
    assert await world.purge() == Purged()
    await world.report(task, 200)
    world.wait(days=365)
    await world.purge()
    assert set(await world.shown(crawler.stream)) == {"a"}


async def test_a_stream_that_never_removed_anything_loses_nothing_but_remembers_less(world):
    crawler = await world.crawler()
    tasks = [await _done(world, crawler, f"word{number}") for number in range(3)]
    await world.compact()
    files = files_of(world)
    purged = await world.purge()
    assert (purged.streams, purged.docs, purged.files) == (1, 0, 0)
    assert files_of(world) == files
    assert len(await rows_of(world, *tasks)) == 3
    with pytest.raises(VersionForgotten):
        await world.shown(crawler.stream, 2)
    assert len(await world.shown(crawler.stream, 3)) == 2
    assert len(await world.history(crawler.stream, "a")) == 3
    assert await world.purge() == Purged()


async def test_an_empty_stream_is_left_alone(world):
    crawler = await world.crawler()
    assert await world.purge() == Purged()
    assert (await world.stream(crawler.stream)).purged_version == 0
    assert await world.shown(crawler.stream, 0) == {}


async def test_another_stream_is_not_touched(world):
    crawler, other = await world.crawler(), await world.crawler()
    task = await _done(world, crawler, "word")
    await world.delete(task)
    moment = world.at
    late = await _done(world, other, "late")
    await world.delete(late)
    await world.purge(before=moment)
    assert (await world.stream(other.stream)).purged_version == 0
    assert await versions_of(world, other.stream) != []
    await world.restore(late)
    assert set(await world.shown(other.stream)) == {"a", "b"}


async def test_garbage_that_is_gone_already_is_forgotten(world):
    crawler = await world.crawler()
    task = await _done(world, crawler, "word")
    await world.delete(task)
    await world.retention.purge(before=world.at, at=world.at, leave=timedelta(0))
    [path] = await garbage_of(world)
    world.store.delete(path)
    assert await world.retention.delete_garbage(at=world.at) == 1
    assert await garbage_of(world) == []


@needs_directory
async def test_a_file_that_cannot_be_deleted_keeps_no_other_from_it(world):
    crawler = await world.crawler()
    for word in ("one", "two"):
        await world.delete(await _done(world, crawler, word))
    await world.retention.purge(before=world.at, at=world.at, leave=timedelta(0))
    stuck, other = (world.store.root / path for path in await garbage_of(world))
    stuck.unlink()
    stuck.mkdir()  # what unlink() cannot take away, whoever runs the test
    await asyncio.gather(world.retention.delete_garbage(at=world.at), return_exceptions=True)
    await asyncio.gather(world.retention.delete_garbage(at=world.at), return_exceptions=True)
    assert not other.exists()


async def test_purging_twice_at_once_purges_once(world):
    crawler = await world.crawler()
    for word in ("one", "two"):
        await world.delete(await _done(world, crawler, word))
    purge = [world.retention.purge(before=world.at, at=world.at, leave=READERS_LEAVE) for _ in range(3)]
    purged = await asyncio.gather(*purge)
    assert sum(one.docs for one in purged) == 4
    assert sum(one.files for one in purged) == 2
    assert await garbage_of(world) == files_of(world)


async def test_a_task_that_is_restored_before_the_purge_reaches_it_keeps_its_documents(world):
    crawler = await world.crawler()
    task = await _done(world, crawler, "word")
    await world.delete(task)
    moment = world.at

    async def restore():
        await world.restore(task)

    between = Between(world.db, write=restore, named="_purge_stream")
    await Retention(between, world.store, keep=KEEP, clock=world.clock).purge(
        before=moment, at=world.at, leave=timedelta(0)
    )
    await world.retention.delete_garbage(at=world.at + READERS_LEAVE)
    assert set(await world.shown(crawler.stream)) == {"a", "b"}


@on("postgres")
async def test_a_task_that_is_being_restored_while_it_is_purged_keeps_its_documents(world):
    crawler = await world.crawler()
    task = await _done(world, crawler, "word")
    await world.delete(task)
    holding = Holding(world.db, before="INSERT INTO segments")
    async with holding.at_rest(holding.write(task_actions.restore, task.fid, at=world.at)):
        purging = asyncio.create_task(world.retention.purge(before=world.at, at=world.at, leave=timedelta(0)))
        await asyncio.wait([purging], timeout=1)
    await purging
    await world.retention.delete_garbage(at=world.at + READERS_LEAVE)
    assert (await world.now(task)).removed_at is None
    assert set(await world.shown(crawler.stream)) == {"a", "b"}


@on("postgres")
async def test_very_many_files_can_be_purged_at_once(world):
    crawler = await world.crawler()
    task = await _done(world, crawler, "word")
    await world.delete(task)
    copied = {"fid": "lpad(n::text, 32, '0')", "path": "'streams/' || n"}
    columns = [column.name for column in tables.segments.c]
    values = ", ".join(copied.get(name, name) for name in columns)
    many = f"INSERT INTO segments ({', '.join(columns)}) SELECT {values} FROM segments, generate_series(1, 66000) n"
    await world.db.write(lambda tx: tx.execute(text(many)).rowcount)
    purged = await world.retention.purge(before=world.at, at=world.at, leave=READERS_LEAVE)
    assert purged.files == 66_001


async def test_those_who_begin_to_follow_after_a_purge_get_everything(world):
    crawler = await world.crawler()
    await world.delete(await _done(world, crawler, "old"))
    await _done(world, crawler, "new", ids="bc")
    await world.purge()
    version, changes = await world.changes(crawler.stream, 0)
    assert (version, [one["id"] for one in changes]) == (3, ["b", "c"])


async def test_the_moment_of_a_version_is_told_in_utc_by_the_log(world):
    assert world.at == AT
    crawler = await world.crawler()
    task = await _done(world, crawler, "word")
    await world.delete(task)
    await world.purge()
    with pytest.raises(VersionForgotten, match=r"ask for version 2 \(2026-03-01T12:00:04Z\)"):
        await world.shown(crawler.stream, 1)
