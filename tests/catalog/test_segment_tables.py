from itertools import product

from builders import a_segment
from headwater.catalog import segment_tables, segments
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
        await _added(world, task, layer=layer, path=f"p{layer}", added_version=added, removed_version=removed)
        for layer, (added, removed) in enumerate(product((None, 1, 2, 3), (None, 2, 3, 4)))
        if added is not None or removed is None
    ]
    for version in range(6):
        found = await world.db.read(segment_tables.visible, task.stream, Visibility(version=version))
        assert found.segments == [row for row in rows if _is_visible(row, version)]


async def test_files_that_cannot_hold_an_id_are_left_out(world):
    task = await world.task()
    for layer, (low, high) in enumerate([(b"a", b"c"), (b"b", b"d"), ("ü".encode(), "ü".encode()), (b"", b"")]):
        await _added(world, task, layer=layer, path=f"p{layer}", min_id=low, max_id=high)

    async def layers(low, high):
        found = await world.db.read(segment_tables.visible, task.stream, Visibility(version=1))
        return [segment.layer for segment in found.holding(low, high).segments]

    assert await layers("b", "b") == [0, 1]
    assert await layers("d", "d") == [1]
    assert await layers("ü", "ü") == [2]
    assert await layers("", "") == [3]
    assert await layers("z\0", "z\0") == []
    assert await layers("cc", None) == [1, 2]
