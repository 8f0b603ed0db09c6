import os
from datetime import timedelta

import pytest

from headwater.catalog import segments
from headwater.ingest.orphans import GRACE, delete_orphans


@pytest.fixture(autouse=True)
def _as_files(world):
    """What is told of files here is true of uploads that are files."""
    world.as_files = True


def _aged(world, path, age):
    stamp = (world.at - age).timestamp()
    os.utime(world.store.locate(path), (stamp, stamp))


def _exists(world, path):
    return (world.store.root / path).exists()


def _leave(world, path, age):
    file = world.store.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x")
    _aged(world, path, age)
    return path


async def test_what_no_segment_names_is_swept_once_it_is_old(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}])
    named = next(iter(await world.db.read(_paths, task)))
    _aged(world, named, 10 * GRACE)
    old = [
        _leave(world, f"streams/{task.stream}/task={task.fid}/old.parquet", GRACE),
        _leave(world, "staging/old", GRACE),
    ]
    young = _leave(world, f"streams/{task.stream}/task={task.fid}/young.parquet", GRACE - timedelta(minutes=1))
    assert sorted(await delete_orphans(world.db, world.store, at=world.at)) == sorted(old)
    assert [_exists(world, path) for path in (named, young, *old)] == [True, True, False, False]
    assert set(await world.shown(crawler.stream)) == {"a"}


async def test_the_files_of_a_deleted_task_are_kept_for_its_restore(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}])
    await world.delete(task)
    assert await delete_orphans(world.db, world.store, at=world.at + timedelta(days=365)) == []
    await world.restore(task)
    assert set(await world.shown(crawler.stream)) == {"a"}


def _paths(tx, task):
    return [segment.path for segment in segments.of_attempt(tx, task)]
