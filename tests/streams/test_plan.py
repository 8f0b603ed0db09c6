import random
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from change_set_builders import telling
from headwater.api.routers.plan import PlanOut
from headwater.domain.errors import RequestInvalid, RunSettled, SegmentDamaged, VersionForgotten
from headwater.domain.task import Mode
from headwater.lake import plan as planning
from headwater.lake.plan import Plan
from headwater.streams import iceberg
from headwater.streams.iceberg import KEPT, READERS_LEAVE, IcebergTables, Warehouse
from headwater.streams.plan import StreamPlans
from headwater.streams.shared_plan import SharedStreamPlans
from headwater.streams.views import NOW, View
from iceberg_history import exported, play
from lakes import content_of, needs_directory
from planned_files import rows_of_plan, rows_of_range

#: Names files by their paths in the lake.
BY_PATH = Warehouse(name="local", location=str, locate=str)
AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def plans(world) -> StreamPlans:
    if world.store.is_remote:
        return SharedStreamPlans(world.db, world.engine, world.store, clock=world.clock)
    return StreamPlans(world.db, world.engine, world.store)


def cut(plan: Plan, ranges: int) -> dict:
    """The plan as it is answered."""
    return PlanOut.of(plan, ranges=ranges, files=BY_PATH, config={}, expires_at=AT).model_dump()


async def assert_same(world, plans, stream, version=None, *, without=(), ranges=7) -> None:
    """A plan's files hold the rows of the export of the same view."""
    plan = await plans.plan(stream, View(as_of=version, without=frozenset(without)))
    expected = await exported(world, stream, version, without=without)
    assert plan.docs == len(expected)
    assert len(cut(plan, ranges)["ranges"]) == max(1, min(ranges, len(expected)))
    assert rows_of_plan(cut(plan, ranges), partial(content_of, world.store)) == expected


async def tasks_of(world, stream) -> list[str]:
    return sorted({row[1] for row in await exported(world, stream)})


@pytest.mark.parametrize("seed", range(200, 206))
async def test_after_any_history_the_ranges_of_each_view_are_the_rows_of_its_export(world, plans, seed):
    stream = await play(world, seed=seed)
    dice = random.Random(seed)
    present = (await world.stream(stream)).stream_version
    tasks = await tasks_of(world, stream)
    for version in range(present + 1):
        await assert_same(world, plans, stream, version, ranges=dice.choice([1, 2, 5, 1000]))
    for version in {present, present // 2}:
        for without in [[task] for task in tasks] + [tasks]:
            await assert_same(world, plans, stream, version, without=without, ranges=dice.choice([1, 3, 1000]))


async def test_what_snapshots_and_deletions_hide_is_left_out(world, plans):
    crawler = await world.crawler()
    shops = {"a": "north", "b": "south", "c": "north", "d": "south"}
    first = await world.done(crawler, [{"id": name, "shop": shop} for name, shop in shops.items()])
    lines = [{"id": "a", "shop": "north"}, {"$delete": "d"}]
    second = await world.done(crawler, lines, mode=Mode.SNAPSHOT, scope=["shop=north"])
    for _ in range(2):
        for version in (1, 2, None):
            await assert_same(world, plans, crawler.stream, version)
        await assert_same(world, plans, crawler.stream, without=[second.fid])
        await assert_same(world, plans, crawler.stream, without=[first.fid])
        await world.fold()
    plan = cut(await plans.plan(crawler.stream, NOW), 10)
    assert [row[0] for row in rows_of_plan(plan, partial(content_of, world.store))] == ["a", "b"]


async def test_a_range_names_only_files_that_may_have_its_ids(world, plans):
    world.as_files = True
    crawler = await world.crawler()
    for letter in "abc":
        await world.done(crawler, [{"id": f"{letter}{n}"} for n in range(10)])
    plan = cut(await plans.plan(crawler.stream, NOW), 3)
    assert [(one["after"], one["upto"]) for one in plan["ranges"]] == [(None, "a9"), ("a9", "b9"), ("b9", None)]
    assert [len(one["segments"]) for one in plan["ranges"]] == [1, 1, 1]
    assert [[segment["deletes"] for segment in one["segments"]] for one in plan["ranges"]] == [[None]] * 3


async def test_ranges_hold_about_the_same_number_of_documents(world, plans):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": f"{n:04}"} for n in range(1000)])
    await world.done(crawler, [{"id": f"{n:04}", "v": 2} for n in range(900)])
    plan = cut(await plans.plan(crawler.stream, NOW), 8)
    read = partial(content_of, world.store)
    assert {len(rows_of_range(one, read)) for one in plan["ranges"]} == {125}


async def test_of_many_documents_a_sample_cuts_the_ranges(world, plans, monkeypatch):
    monkeypatch.setattr("headwater.lake.iceberg.rows._SAMPLED", 200)
    crawler = await world.crawler()
    await world.done(crawler, [{"id": f"{n}", "v": 1} for n in range(2000)])
    await world.fold()
    await world.done(crawler, [{"id": f"{n}", "v": 2} for n in range(0, 2000, 3)])
    plan = await plans.plan(crawler.stream, NOW)
    assert 20 < len(plan.bounds) < 1000
    await assert_same(world, plans, crawler.stream, ranges=9)


async def test_a_plan_of_many_files_has_fewer_ranges(world, plans, monkeypatch):
    monkeypatch.setattr(planning, "MOST_NAMED", 6)
    world.as_files = True
    crawler = await world.crawler()
    for _ in range(3):
        await world.done(crawler, [{"id": f"{n}"} for n in range(10)])
    await world.done(crawler, [{"id": "other"}])
    assert len(cut(await plans.plan(crawler.stream, NOW), 10)["ranges"]) == 3


async def test_an_empty_view_is_one_range_without_files(world, plans):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}])
    for view in (View(as_of=0), View(without=frozenset([task.fid]))):
        plan = cut(await plans.plan(crawler.stream, view), 10)
        assert (plan["docs"], plan["ranges"]) == (0, [{"after": None, "upto": None, "segments": []}])


async def test_a_view_that_cannot_be_read_has_no_plan(world, plans):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}])
    other = await world.done(await world.crawler(), [{"id": "b"}])
    with pytest.raises(RequestInvalid, match="there is no version 7"):
        await plans.plan(crawler.stream, View(as_of=7))
    with pytest.raises(RequestInvalid, match="no task of stream"):
        await plans.plan(crawler.stream, View(without=frozenset([other.fid])))
    await world.delete(task)
    world.wait(days=100)
    await world.purge()
    with pytest.raises(VersionForgotten):
        await plans.plan(crawler.stream, View(as_of=1))


async def test_a_settled_run_cannot_be_left_out(world, plans):
    crawler = await world.crawler()
    await world.set_undo_days(crawler.stream, 1)
    task = await world.done(crawler, [{"id": "a"}])
    world.wait(days=3)
    await world.done(crawler, [{"id": "b"}])
    await world.retention.settle(at=world.at, leave=timedelta(0))
    with pytest.raises(RunSettled):
        await plans.plan(crawler.stream, View(without=frozenset([task.fid])))


@needs_directory
async def test_a_plan_is_made_once(world, plans):
    world.as_files = True
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a", "v": 1}, {"id": "b"}])
    await world.done(crawler, [{"id": "a", "v": 2}])
    first = await plans.plan(crawler.stream, NOW)
    made = {file: file.stat().st_ino for file in world.store.root.glob("iceberg/**/*.*") if file.is_file()}
    assert len(made) == 2
    assert await plans.plan(crawler.stream, NOW) == first
    assert {file: file.stat().st_ino for file in made} == made


@needs_directory
async def test_of_many_plans_those_asked_for_last_are_kept_whatever_they_leave_out(world, plans, monkeypatch):
    monkeypatch.setattr(iceberg, "MOST_KEPT", 2)
    tables = IcebergTables(world.db, world.engine, world.store)
    crawler = await world.crawler()
    tasks = [(await world.done(crawler, [{"id": f"{n}"}])).fid for n in range(4)]
    for task in tasks:
        await plans.plan(crawler.stream, View(without=frozenset([task])))
    now = datetime.now(UTC)
    assert await tables.sweep(now) == 0
    assert await tables.sweep(now + READERS_LEAVE + timedelta(minutes=1)) == 2
    assert await tables.sweep(now + KEPT + timedelta(minutes=1)) == 2
    assert [file for file in world.store.root.glob("iceberg/**/*") if file.is_file()] == []
    await assert_same(world, plans, crawler.stream, without=tasks[:1])


@pytest.mark.parametrize("as_files", [True, False])
@needs_directory
async def test_an_erased_document_is_in_no_file_an_hour_later(world, plans, as_files):
    tables = IcebergTables(world.db, world.engine, world.store)
    crawler = await world.crawler()
    world.as_files = as_files
    await world.done(crawler, [{"id": "a", "v": "a secret"}, {"id": "b", "v": "kept"}])
    before = cut(await plans.plan(crawler.stream, NOW), 2)
    await world.document_erasure.erase(crawler.stream, "a")
    await assert_same(world, plans, crawler.stream)
    read = partial(content_of, world.store)
    assert [row[0] for row in rows_of_plan(before, read)] == ["a", "b"]
    await tables.sweep(datetime.now(UTC) + READERS_LEAVE + timedelta(minutes=1))
    await world.purge()
    for file in world.store.root.glob("iceberg/**/*"):
        if file.is_file() and file.suffix != ".parquet":
            assert b"a secret" not in file.read_bytes()
            file.unlink()  # the rest is read as Parquet
    assert telling(world, "a secret") == []


@needs_directory
async def test_damage_is_told_of_instead_of_planned_with(world, plans):
    world.as_files = True
    crawler = await world.crawler()
    await world.done(crawler, [{"id": f"{n}", "text": "x" * 100} for n in range(100)])
    [file] = world.store.root.glob("streams/**/*.parquet")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)
    with pytest.raises(SegmentDamaged):
        await plans.plan(crawler.stream, NOW)
