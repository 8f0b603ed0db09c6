from itertools import product

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from builders import AT, a_segment
from headwater.catalog import segments
from headwater.domain.stream import Segment, Visibility


def _is_visible(segment: Segment, version: int) -> bool:
    added, removed = segment.added_version, segment.removed_version
    return added is not None and added <= version and (removed is None or version < removed)


async def _added(world, task, **fields):
    segment = a_segment(task, **fields)
    await world.db.write(segments.add, segment)
    return segment


async def test_what_is_visible_at_each_version_is_what_the_domain_says(world):
    task = await world.task()
    rows = [
        await _added(world, task, layer=layer, added_version=added, removed_version=removed)
        for layer, (added, removed) in enumerate(product((None, 1, 2, 3), (None, 2, 3, 4)))
        if added is not None or removed is None
    ]
    for version in range(6):
        found = await world.db.read(segments.visible, task.stream, Visibility(version=version))
        assert [one.segment for one in found] == [row for row in rows if _is_visible(row, version)]


async def test_files_that_cannot_hold_an_id_are_left_out(world):
    task = await world.task()
    for layer, (low, high) in enumerate([(b"a", b"c"), (b"b", b"d"), ("ü".encode(), "ü".encode()), (b"", b"")]):
        await _added(world, task, layer=layer, min_id=low, max_id=high)

    async def layers(**asked):
        found = await world.db.read(segments.visible, task.stream, Visibility(version=1), **asked)
        return [one.segment.layer for one in found]

    assert await layers(holding="b") == [0, 1]
    assert await layers(holding="d") == [1]
    assert await layers(holding="ü") == [2]
    assert await layers(holding="") == [3]
    assert await layers(holding="z\0") == []
    assert await layers(from_id="cc") == [1, 2]


async def test_very_many_segments_can_be_taken_out_and_put_back_at_once(world):
    task = await world.task()

    def add_many(tx):
        for layer in range(2000):
            segments.add(tx, a_segment(task, layer=layer, path=f"p{layer}"))

    await world.db.write(add_many)
    shown = segments.shown(task.fid)
    assert await world.db.read(segments.docs_in, shown) == 2000
    await world.db.write(segments.take_out, shown, version=2)
    assert await world.db.read(segments.docs_in, shown) is None
    gone = await world.db.read(segments.removed_at, [task.fid], 2)
    await world.db.write(segments.put_back, gone, version=3, at=AT)
    assert await world.db.read(segments.docs_in, shown) == 2000
    assert len(await world.db.read(segments.visible, task.stream, Visibility(version=2))) == 0


async def test_a_file_is_named_until_its_last_row_is_gone(world):
    task = await world.task()
    row = await _added(world, task, path="here", removed_version=2)
    await world.db.write(segments.put_back, [row], version=3, at=AT)
    await _added(world, task, path="there", docs=5, removed_version=2)
    assert await world.db.write(segments.purge, segments.removed_by(task.stream, 2)) == (5, ["there"])
    assert await world.db.read(segments.still_named, ["here", "there"]) == {"here"}
    assert await world.db.write(segments.purge, segments.of_task(task.fid)) == (1, ["here"])
    assert await world.db.read(segments.still_named, ["here"]) == set()


async def test_what_compaction_looks_for_does_not_read_what_it_has_settled(world):
    if world.db.url.get_backend_name() != "sqlite":
        pytest.skip("PostgreSQL chooses by the sizes of tables, which are none here")

    def plans(tx):
        asked: list[str] = []

        class Explained:
            def execute(self, statement):
                asked.append(str(statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})))
                return []

        segments.to_compact(Explained(), limit=20)
        for inlined in (False, True):
            segments.crowded(Explained(), more_than=64, inlined=inlined, limit=20)
        return [[row.detail for row in tx.execute(text(f"EXPLAIN QUERY PLAN {question}"))] for question in asked]

    # Either leads to the open tasks and to no others.
    open_tasks = ("INDEX one_open_task", "INDEX tasks_by_state (state=?)")
    for plan, indexes in zip(
        await world.db.read(plans), (("INDEX segments_to_compact",), open_tasks, open_tasks), strict=True
    ):
        assert any(index in step for step in plan for index in indexes)
        assert not any(step == "SCAN segments USING INDEX segments_of_task" for step in plan)
