from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from builders import a_stream
from headwater.domain.errors import RunSettled, VersionForgotten
from headwater.domain.task import TaskFilter
from headwater.streams import diffs


def doc(number: int, value: object) -> dict:
    return {"id": f"sku-{number:03}", "v": value}


@pytest.fixture
async def crawler(world):
    """Feeds a stream whose runs can be undone for 7 days."""
    return await world.crawler(stream=a_stream(undo_days=7))


async def settle(world) -> None:
    await world.retention.settle(at=world.at, leave=timedelta(0))


def texts(world) -> list[str]:
    """All texts on disk."""
    return [
        text for file in world.store.root.rglob("*.parquet") for text in pq.read_table(file).column("doc").to_pylist()
    ]


async def test_a_run_can_be_undone_for_the_days_of_its_stream(world, crawler):
    task = await world.done(crawler, [doc(1, "old")])
    world.wait(days=6)
    await settle(world)
    await world.delete(task)
    await world.restore(task)
    world.wait(days=2)
    await world.done(crawler, [doc(2, "new")])
    await settle(world)
    # It was restored two days ago, and the version that shows it again is younger than seven days.
    await world.delete(task)
    await world.restore(task)
    world.wait(days=8)
    await settle(world)
    with pytest.raises(RunSettled, match="undo_days"):
        await world.delete(task)


async def test_a_settled_run_is_neither_deleted_nor_retried_nor_left_out(world, crawler):
    old = await world.done(crawler, [doc(1, "old")])
    world.wait(days=8)
    new = await world.done(crawler, [doc(1, "new")])
    await settle(world)
    for refused in (
        lambda: world.delete(old),
        lambda: world.retry(old),
        lambda: world.revert(crawler.stream, tasks=(old.fid, new.fid)),
        lambda: world.shown(crawler.stream, without=[old.fid]),
        lambda: world.db.read(diffs.of_delete, old.fid),
        lambda: world.db.read(diffs.of_revert, crawler.stream, TaskFilter(tasks=(old.fid,))),
    ):
        with pytest.raises(RunSettled, match=old.fid):
            await refused()
    assert await world.shown(crawler.stream) == {"sku-001": doc(1, "new")}
    await world.delete(new)
    assert await world.shown(crawler.stream) == {"sku-001": doc(1, "old")}


async def test_what_a_stream_showed_before_is_forgotten(world, crawler):
    await world.done(crawler, [doc(1, "first")])
    await world.done(crawler, [doc(1, "second")])
    world.wait(days=8)
    await world.done(crawler, [doc(1, "third")])
    await settle(world)
    with pytest.raises(VersionForgotten):
        await world.shown(crawler.stream, 1)
    assert await world.shown(crawler.stream, 2) == {"sku-001": doc(1, "second")}


async def test_of_settled_runs_only_the_current_versions_stay_on_disk(world, crawler):
    for run in range(5):
        await world.done(crawler, [doc(n, f"old {run}") for n in range(3)])
    await world.fold()
    world.wait(days=8)
    recent = [await world.done(crawler, [doc(0, f"new {run}")]) for run in range(2)]
    await settle(world)
    while await world.fold():
        pass
    await world.retention.delete_garbage(at=world.at + timedelta(hours=2))
    found = " ".join(texts(world))
    assert [f"old {run}" in found for run in range(5)] == [False] * 4 + [True]
    assert [f"new {run}" in found for run in range(2)] == [True, True]
    for task in recent:
        await world.delete(task)
    assert await world.shown(crawler.stream) == {f"sku-{n:03}": doc(n, "old 4") for n in range(3)}


async def test_a_recent_run_beneath_settled_ones_can_still_be_undone(world, crawler):
    """A deleted run that is restored shows at its old place."""
    beneath = await world.done(crawler, [doc(1, "beneath"), doc(2, "beneath")])
    await world.done(crawler, [doc(1, "above")])
    world.wait(days=5)
    await world.delete(beneath)
    world.wait(days=5)
    await world.restore(beneath)
    await settle(world)
    await world.fold()
    assert await world.shown(crawler.stream) == {"sku-001": doc(1, "above"), "sku-002": doc(2, "beneath")}
    await world.delete(beneath)
    assert await world.shown(crawler.stream) == {"sku-001": doc(1, "above")}


async def test_more_days_do_not_bring_back_what_is_settled(world, crawler):
    old = await world.done(crawler, [doc(1, "old")])
    world.wait(days=8)
    await settle(world)
    await world.set_undo_days(crawler.stream, None)
    await settle(world)
    with pytest.raises(RunSettled):
        await world.delete(old)


async def test_a_stream_without_undo_days_keeps_everything(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [doc(1, "old")])
    world.wait(days=4_000)
    await settle(world)
    await world.delete(task)
    assert await world.shown(crawler.stream) == {}


async def test_purged_parts_of_a_folded_file_leave_the_disk(world):
    crawler = await world.crawler()
    tasks = [await world.done(crawler, [doc(n, f"run {run}") for n in range(4)]) for run in range(4)]
    await world.fold()
    for task in tasks[:3]:
        await world.delete(task)
    await world.purge()
    assert len(texts(world)) == 16
    while await world.fold():
        pass
    await world.retention.delete_garbage(at=world.at + timedelta(hours=2))
    assert len(texts(world)) == 4
    assert await world.shown(crawler.stream) == {f"sku-{n:03}": doc(n, "run 3") for n in range(4)}
