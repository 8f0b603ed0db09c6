"""Plans of a lake in an object store, which two nodes share."""

from datetime import timedelta
from functools import partial

import pytest
from obstore.store import MemoryStore

from builders import World
from headwater.streams import shared_iceberg
from headwater.streams.iceberg import KEPT, READERS_LEAVE
from headwater.streams.shared_iceberg import SharedIcebergTables
from headwater.streams.shared_plan import SharedStreamPlans
from headwater.streams.views import NOW, View
from iceberg_history import exported, play
from lakes import content_of, objects_in
from planned_files import rows_of_plan
from streams.test_plan import cut

pytestmark = pytest.mark.both_databases


@pytest.fixture
def bucket() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def world(db, tmp_path, bucket):
    made = World(db, tmp_path / "one", client=bucket)
    made.as_files = True
    yield made
    made.close()


@pytest.fixture
def node(world, db, tmp_path, bucket):
    """Another node, with the clock of the first."""
    made = World(db, tmp_path / "two", client=bucket)
    made.clock = world.clock
    yield made
    made.close()


def plans_of(world: World) -> SharedStreamPlans:
    return SharedStreamPlans(world.db, world.engine, world.store, clock=world.clock)


def own_files(bucket: MemoryStore) -> list[str]:
    return [path for path in objects_in(bucket) if "/iceberg/" in path]


async def swept(world: World) -> None:
    await SharedIcebergTables(world.db, world.engine, world.store, clock=world.clock).sweep(world.clock())
    await world.retention.delete_garbage(at=world.clock())


@pytest.mark.parametrize("seed", range(300, 302))
async def test_after_any_history_each_node_plans_each_view_as_its_export(world, node, seed):
    stream = await play(world, seed=seed)
    both = (plans_of(world), plans_of(node))
    present = (await world.stream(stream)).stream_version
    tasks = sorted({row[1] for row in await exported(world, stream)})
    views = [(version, ()) for version in range(present + 1)] + [(present, (task,)) for task in tasks]
    for place, (version, without) in enumerate(views):
        view = View(as_of=version, without=frozenset(without))
        plan = await both[place % 2].plan(stream, view)
        assert await both[1 - place % 2].plan(stream, view) == plan
        expected = await exported(world, stream, version, without=without)
        assert rows_of_plan(cut(plan, 5), partial(content_of, node.store)) == expected


async def test_all_files_lie_below_the_prefix_of_the_stream(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a", "v": 1}])
    await world.fold()
    await world.done(crawler, [{"id": "a", "v": 2}, {"id": "b"}])
    task = await world.done(crawler, [{"id": "b", "v": 3}])
    for view in (NOW, View(without=frozenset([task.fid]))):
        plan = cut(await plans_of(world).plan(crawler.stream, view), 2)
        for one in plan["ranges"]:
            for segment in one["segments"]:
                for file in (segment, segment["deletes"] or segment):
                    assert file["location"].startswith(f"streams/{crawler.stream}/")


async def test_files_of_a_plan_are_deleted_when_nobody_asks_for_it(world):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": "a", "v": 1}, {"id": "b"}])
    await world.done(crawler, [{"id": "a", "v": 2}])
    plans, view = plans_of(world), View(without=frozenset([first.fid]))
    await plans.plan(crawler.stream, NOW)
    assert len(own_files(world.store._client)) == 1  # noqa: SLF001 - a test looks past the store
    bucket = world.store._client  # noqa: SLF001 - likewise
    await plans.plan(crawler.stream, view)
    world.wait(hours=23)
    await swept(world)
    plan = await plans.plan(crawler.stream, NOW)
    world.wait(hours=3)
    await swept(world)
    assert len(own_files(bucket)) == 1
    assert rows_of_plan(cut(plan, 2), partial(content_of, world.store)) == await exported(world, crawler.stream)
    world.at += KEPT + READERS_LEAVE + timedelta(minutes=1)
    await swept(world)
    assert own_files(bucket) == []


async def test_of_many_plans_those_asked_for_last_are_kept_whatever_they_leave_out(world, monkeypatch):
    monkeypatch.setattr(shared_iceberg, "MOST_KEPT", 2)
    crawler = await world.crawler()
    tasks = [(await world.done(crawler, [{"id": "a", "v": n}, {"id": f"{n}"}])).fid for n in range(4)]
    plans = plans_of(world)
    for task in tasks:
        world.wait(minutes=1)
        await plans.plan(crawler.stream, View(without=frozenset([task])))
    before = len(own_files(world.store._client))  # noqa: SLF001 - a test looks past the store
    world.wait(hours=2)
    await swept(world)
    after = own_files(world.store._client)  # noqa: SLF001 - likewise
    assert len({path.rpartition("/")[0] for path in after}) == 2
    assert len(after) < before
