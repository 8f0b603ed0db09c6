import pytest
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from builders import AT, a_segment
from headwater.catalog import segment_tables, segments
from headwater.domain.stream import Visibility


async def _added(world, task, **fields):
    segment = a_segment(task, **fields)
    await world.db.write(segments.add, segment)
    return segment


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
    assert len(await world.db.read(segment_tables.visible, task.stream, Visibility(version=2))) == 0


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
