"""Files that are to be put to an object store: named by their transaction, or given up, and never both."""

import asyncio
from datetime import timedelta

import pytest
from obstore.store import MemoryStore
from sqlalchemy import select

from builders import World, body_of, ndjson
from headwater.catalog import garbage, intended_files, tables
from headwater.catalog.garbage import READERS_LEAVE
from headwater.domain.errors import TaskClosed, Unavailable
from headwater.ingest.orphans import GRACE_OF_INTENDED, delete_orphans
from lakes import objects_in

LATER = GRACE_OF_INTENDED + timedelta(hours=1)


@pytest.fixture
def bucket() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def world(db, tmp_path, bucket):
    made = World(db, tmp_path, client=bucket)
    made.as_files = True
    yield made
    made.close()


@pytest.fixture
def node(db, tmp_path, bucket):
    """Another node on the same catalog and bucket."""
    made = World(db, tmp_path / "other", client=bucket)
    yield made
    made.close()


async def intended(world):
    return sorted(await world.db.read(lambda tx: tx.execute(select(tables.intended_files.c.path)).scalars().all()))


async def named(world):
    return sorted(set(await world.db.read(lambda tx: tx.execute(select(tables.segments.c.path)).scalars().all())))


async def test_an_upload_is_named_and_nothing_stays_intended(world, node, bucket):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}, {"id": "b"}])
    assert await intended(world) == []
    assert objects_in(bucket) == await named(world)
    assert await node.export(crawler.stream) == await world.export(crawler.stream) == ndjson([{"id": "a"}, {"id": "b"}])


async def test_merging_folding_and_erasing_name_what_they_write(world, node, bucket):
    crawler = await world.crawler()
    for number in range(6):
        task = await world.task(crawler)
        await world.upload(task, [{"id": "a", "n": number}, {"id": f"{number}"}])
        await world.upload(task, [{"id": "b", "n": number}])
        await world.report(task, 200)
    before = await world.export(crawler.stream)
    await world.compact()
    assert await world.fold()
    assert await node.export(crawler.stream) == before
    await world.document_erasure.erase(crawler.stream, "a")
    assert await intended(world) == []
    assert b'"a"' not in await node.export(crawler.stream)
    world.at += 2 * READERS_LEAVE
    await world.retention.delete_garbage(at=world.at)
    assert objects_in(bucket) == await named(world)
    assert b'"a"' not in await node.export(crawler.stream)


async def test_what_was_put_and_never_named_is_deleted_by_its_path(world, bucket, monkeypatch):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    task = await world.task(crawler)
    # As if the process were killed between the put and the transaction.
    monkeypatch.setattr("headwater.ingest.upload.record", lambda *_args, **_more: (_ for _ in ()).throw(SystemExit))
    with pytest.raises((SystemExit, RuntimeError)):
        await world.uploads.take(task, body_of(ndjson([{"id": "b"}])))
    monkeypatch.undo()
    left = await intended(world)
    assert len(left) == 1
    assert set(left) < set(objects_in(bucket))
    assert await delete_orphans(world.db, world.store, at=world.at) == []  # it may still be under way
    assert await delete_orphans(world.db, world.store, at=world.at + LATER) == left
    await world.retention.delete_garbage(at=world.at + LATER)
    assert objects_in(bucket) == await named(world)
    assert await intended(world) == []
    assert set(await world.shown(crawler.stream)) == {"a"}


async def test_an_upload_that_hung_until_its_file_was_given_up_is_refused_and_shows_nothing(world, bucket, monkeypatch):
    crawler = await world.crawler()
    task = await world.task(crawler)
    keep = world.store.keep

    def hang(staged, path):
        keep(staged, path)
        asyncio.run(delete_orphans(world.db, world.store, at=world.at + LATER))

    monkeypatch.setattr(world.store, "keep", hang)
    with pytest.raises(Unavailable, match="given up"):
        await world.uploads.take(task, body_of(ndjson([{"id": "a"}])))
    monkeypatch.undo()
    await world.retention.delete_garbage(at=world.at + LATER)
    assert objects_in(bucket) == await named(world) == []
    receipt = await world.uploads.take(task, body_of(ndjson([{"id": "a"}])))
    assert (receipt.count, receipt.total) == (1, 1)


async def test_a_file_that_is_named_is_never_given_up(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    paths = await named(world)
    await world.db.write(intended_files.add, paths[0], at=world.at)
    assert await world.db.write(intended_files.give_up, paths, at=world.at) == []
    assert await world.db.read(garbage.due, at=world.at + LATER, limit=10) == []
    assert await intended(world) == []


async def test_a_rejected_upload_leaves_no_object(world, bucket):
    task = await world.task(await world.crawler())
    stale = task
    await world.report(task, 200)
    with pytest.raises(TaskClosed):
        await world.uploads.take(stale, body_of(ndjson([{"id": "a"}])))
    assert objects_in(bucket) == []


async def test_a_copy_of_a_deleted_file_is_removed_from_each_node(world, node):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}, {"id": "b"}])
    await node.export(crawler.stream)
    await world.document_erasure.erase(crawler.stream, "a")
    await node.export(crawler.stream)
    await delete_orphans(node.db, node.store, at=world.at)
    assert len(node.store.copies()) == 2  # readers may have begun with the former file
    world.at += 2 * READERS_LEAVE
    await world.retention.delete_garbage(at=world.at)
    await delete_orphans(node.db, node.store, at=world.at)
    assert node.store.copies() == await named(world)
    assert await node.export(crawler.stream) == ndjson([{"id": "b"}])
