"""Logs where the lake is an object store: any node appends and reads, and lines move from rows to objects."""

import asyncio
from datetime import timedelta

import obstore
import pytest
from obstore.store import MemoryStore
from sqlalchemy import func, select

from builders import World
from headwater.catalog import tables
from headwater.catalog.garbage import READERS_LEAVE
from headwater.domain.redaction import Redactor
from headwater.ingest.task_log import TaskLogWriter
from headwater.streams.log_shipping import ENOUGH, LEAST, QUIET, LogShipping
from headwater.streams.task_log import LogFilter, TaskLogReader
from lakes import objects_in

EVERYTHING = LogFilter()


@pytest.fixture
def bucket() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def nodes(db, tmp_path, bucket):
    """Two nodes on one catalog and bucket."""
    made = [World(db, tmp_path / name, client=bucket) for name in ("one", "two")]
    yield made
    for world in made:
        world.close()


async def write(world, task, *texts: str) -> None:
    async def body():
        yield "".join(f"{text}\n" for text in texts).encode()

    writer = TaskLogWriter(world.db, None, most_bytes=64 << 20, most_lines=10**6, idle_timeout=60, clock=world.clock)
    await writer.write(task, body(), Redactor([]))


async def texts(world, task, *, place: int = 0, limit: int = 1000) -> list[str]:
    """The lines of a log, page by page."""
    reader = TaskLogReader(world.db, world.store)
    _, log = await reader.find(task.fid, None)
    found: list[str] = []
    while True:
        page = await reader.page(log, place, EVERYTHING, limit=limit, at=world.at)
        found += [line.text for _, line in page.lines]
        if page.is_all:
            return found
        place = page.place


async def tail(world, task, count: int) -> list[str]:
    reader = TaskLogReader(world.db, world.store)
    _, log = await reader.find(task.fid, None)
    return await texts(world, task, place=await reader.tail(log, count))


async def in_rows(world) -> int:
    """The bytes of lines in the catalog."""
    size = select(func.coalesce(func.sum(func.length(tables.log_chunks.c.lines)), 0))
    return await world.db.read(lambda tx: tx.execute(size).scalar_one())


def shipping(world) -> LogShipping:
    return LogShipping(world.db, world.store, clock=world.clock)


async def test_lines_that_two_nodes_append_are_read_by_both_before_and_after_they_move(nodes):
    task = await nodes[0].task()
    expected = []
    for number in range(60):
        some = [f"line {number}-{part} {'x' * 500}" for part in range(20)]
        await write(nodes[number % 2], task, *some)
        expected += some
    for step in range(2):
        for world in nodes:
            assert await texts(world, task) == expected
            assert await texts(world, task, limit=7) == expected
            for count in (0, 1, 19, 20, 21, 700, 1199, 1200, 5000):
                assert await tail(world, task, count) == expected[len(expected) - min(count, len(expected)) :]
        if step == 0:
            before = await in_rows(nodes[0])
            assert await shipping(nodes[1]).turn() > 0
            assert await in_rows(nodes[0]) < ENOUGH < before
    await write(nodes[0], task, "last")
    assert await texts(nodes[1], task) == [*expected, "last"]


async def test_a_log_that_is_silent_moves_unless_it_is_short(nodes, bucket):
    world = nodes[0]
    short, long = await world.task(), await world.task()
    await write(world, short, "one")
    await write(world, long, "x" * LEAST)
    assert await shipping(world).turn() == 0
    world.wait(seconds=QUIET.total_seconds() + 1)
    assert await shipping(world).turn() == 1
    assert [path.split("/")[1] for path in objects_in(bucket)] == [f"task={long.fid}"]
    assert await texts(world, short) == ["one"]
    assert await shipping(world).turn() == 0
    await write(world, short, "two")
    assert await texts(nodes[1], short) == ["one", "two"]


async def test_two_nodes_that_move_the_same_lines_leave_each_once(nodes, monkeypatch):
    one, two = nodes
    task = await one.task()
    lines = [f"{number} {'x' * 1000}" for number in range(600)]
    await write(one, task, *lines)
    here, there = shipping(one), shipping(two)
    put = here._put  # noqa: SLF001 - what comes in between

    def put_late(*given) -> None:
        put(*given)
        asyncio.run(there.turn())

    monkeypatch.setattr(here, "_put", put_late)
    await here.turn()
    assert await texts(one, task) == await texts(two, task) == lines


async def test_a_purged_log_leaves_nothing(nodes, bucket):
    world = nodes[0]
    task = await world.task()
    await write(world, task, *("x" * 1000 for _ in range(600)))
    await shipping(world).turn()
    await world.report(task, 200)
    await world.delete(task)
    world.wait(seconds=1)
    await world.retention.purge(before=world.at, at=world.at, leave=timedelta(0))
    await world.retention.delete_garbage(at=world.at + READERS_LEAVE)
    assert objects_in(bucket) == []
    assert await in_rows(world) == 0
    assert await texts(nodes[1], task) == []


async def test_what_is_lost_is_passed_over(nodes, bucket):
    task = await nodes[0].task()
    await write(nodes[0], task, *("x" * 1000 for _ in range(600)))
    await shipping(nodes[0]).turn()
    await write(nodes[0], task, "last")
    obstore.delete(bucket, objects_in(bucket))
    assert (await texts(nodes[1], task))[-1] == "last"
