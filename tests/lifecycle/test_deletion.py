import pytest

from builders import an_external
from headwater.catalog import externals, objects
from headwater.catalog.objects import CRAWLERS, EXTERNALS, STREAMS, TASKS
from headwater.domain.errors import InUse, NotFound, VersionForgotten, VersionMismatch
from headwater.lifecycle import deletion
from headwater.lifecycle.deletion import delete_crawler, delete_external, delete_stream


async def _remove(world, action, fid, *, cascade=False, expected=None):
    await action(world.db, fid, cascade=cascade, expected=expected, vault=world.vault, at=world.at)


async def _there(world, *pairs):
    return [await world.db.read(objects.find, kind, fid) is not None for kind, fid in pairs]


async def test_a_crawler_without_tasks_can_be_deleted(world):
    crawler = await world.crawler()
    await _remove(world, delete_crawler, crawler.fid)
    assert await _there(world, (CRAWLERS, crawler.fid), (STREAMS, crawler.stream)) == [False, True]


async def test_a_crawler_with_tasks_names_the_latest_and_stays(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}])
    with pytest.raises(InUse, match=task.fid):
        await _remove(world, delete_crawler, crawler.fid)
    assert set(await world.shown(crawler.stream)) == {"a"}


async def test_cascading_from_a_crawler_takes_its_tasks_and_documents_and_leaves_the_stream(world):
    crawler = await world.crawler()
    done = await world.done(crawler, [{"id": "a"}])
    running = await world.task(crawler)
    await world.upload(running, [{"id": "b"}])
    await _remove(world, delete_crawler, crawler.fid, cascade=True)
    assert await _there(world, (TASKS, done.fid), (TASKS, running.fid), (STREAMS, crawler.stream)) == [
        False,
        False,
        True,
    ]
    assert await world.shown(crawler.stream) == {}
    again = await world.crawler(stream=await world.stream(crawler.stream))
    await world.done(again, [{"id": "c"}])
    assert set(await world.shown(crawler.stream)) == {"c"}


@pytest.mark.parametrize(("action", "use"), [(delete_stream, "stream"), (delete_external, "external")])
async def test_what_a_crawler_uses_stays_and_names_it_unless_the_deletion_cascades(world, action, use):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    fid = getattr(crawler, use)
    with pytest.raises(InUse, match=f"{use} {fid} is used by crawler {crawler.fid}"):
        await _remove(world, action, fid)
    await _remove(world, action, fid, cascade=True)
    kind = {"stream": STREAMS, "external": EXTERNALS}[use]
    assert await _there(world, (CRAWLERS, crawler.fid), (kind, fid)) == [False, False]


async def test_an_external_that_nothing_uses_goes_with_all_its_versions(world):
    external = await world.db.write(objects.add, EXTERNALS, an_external())
    await _remove(world, delete_external, external.fid)
    with pytest.raises(NotFound):
        await world.db.read(externals.definition_at, external.fid, 1)


async def test_a_deletion_of_another_version_is_refused(world):
    crawler = await world.crawler()
    with pytest.raises(VersionMismatch):
        await _remove(world, delete_crawler, crawler.fid, expected=frozenset({7}))
    with pytest.raises(NotFound):
        await _remove(world, delete_stream, "x")


async def test_who_follows_a_stream_whose_crawler_is_deleted_with_its_tasks_must_begin_anew(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    await _remove(world, delete_crawler, crawler.fid, cascade=True)
    for asked in (world.changes(crawler.stream, 1), world.shown(crawler.stream, 1)):
        with pytest.raises(VersionForgotten):
            await asked
    stream = await world.stream(crawler.stream)
    assert await world.changes(crawler.stream, 0) == (stream.stream_version, [])
    again = await world.crawler(stream=stream)
    task = await world.done(again, [{"id": "b"}])
    version, changes = await world.changes(crawler.stream, stream.stream_version)
    assert (version, [change["id"] for change in changes]) == (3, ["b"])
    await world.delete(task)
    await world.restore(task)
    assert set(await world.shown(crawler.stream)) == {"b"}


@pytest.mark.parametrize(
    ("action", "use"), [(delete_crawler, "fid"), (delete_stream, "stream"), (delete_external, "external")]
)
async def test_a_cascade_over_many_tasks_lets_others_write_in_between(world, monkeypatch, action, use):
    monkeypatch.setattr(deletion, "AT_ONCE", 2)
    crawler = await world.crawler()
    runs = [await world.done(crawler, [{"id": str(number)}]) for number in range(7)]
    transactions = []
    write = world.db.write

    async def counted(function, *args, **options):
        before = len([run for run in runs if await world.db.read(objects.find, TASKS, run.fid)])
        result = await write(function, *args, **options)
        after = len([run for run in runs if await world.db.read(objects.find, TASKS, run.fid)])
        transactions.append(before - after)
        return result

    monkeypatch.setattr(world.db, "write", counted)
    await _remove(world, action, getattr(crawler, use), cascade=True)
    assert sum(transactions) == 7
    assert max(transactions) == 2
    assert await _there(world, (CRAWLERS, crawler.fid)) == [False]


async def test_a_cascade_at_another_version_deletes_no_task(world, monkeypatch):
    monkeypatch.setattr(deletion, "AT_ONCE", 1)
    crawler = await world.crawler()
    runs = [await world.done(crawler, [{"id": str(number)}]) for number in range(3)]
    with pytest.raises(VersionMismatch):
        await _remove(world, delete_crawler, crawler.fid, cascade=True, expected=frozenset({7}))
    assert await _there(world, *((TASKS, run.fid) for run in runs)) == [True, True, True]
