"""Prepared exports where the lake is an object store: one node writes them, any node sends them."""

from datetime import timedelta

import pytest
from obstore.store import MemoryStore

from builders import World, body_of
from headwater.domain.errors import NotFound
from headwater.streams.export import ExportFormat
from headwater.streams.prepared_exports import KEPT, MOST
from headwater.streams.shared_exports import SharedExports
from lakes import objects_in


@pytest.fixture
def bucket() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def nodes(db, tmp_path, bucket):
    made = [World(db, tmp_path / name, client=bucket) for name in ("one", "two")]
    yield made
    for world in made:
        world.close()


async def prepared(world, stream: str, content: bytes = b"content"):
    world.wait(seconds=1)
    return await SharedExports(world.db, world.store).add(
        body_of(content[:3], content[3:]),
        stream=stream,
        prepared_version=0,
        stream_version=0,
        form=ExportFormat.NDJSON,
        disposition="attachment",
        at=world.at,
    )


async def content_of(world, export) -> bytes:
    found, file = await SharedExports(world.db, world.store).find(export.stream, export.fid, at=world.at)
    assert found == export
    content = file.path.read_bytes()
    file.release()
    return content


async def test_an_export_is_sent_by_the_node_that_wrote_it_and_by_others(nodes):
    crawler = await nodes[0].crawler()
    export = await prepared(nodes[0], crawler.stream)
    nodes[1].at = nodes[0].at
    assert await content_of(nodes[0], export) == await content_of(nodes[1], export) == b"content"
    assert list(nodes[0].store.staging.iterdir()) == []


async def test_it_is_gone_after_a_day_without_a_look_for_it(nodes, bucket):
    world = nodes[0]
    export = await prepared(world, (await world.crawler()).stream)
    assert len(objects_in(bucket)) == 2
    await world.retention.delete_garbage(at=world.at + KEPT - timedelta(minutes=1))
    assert len(objects_in(bucket)) == 2
    await nodes[1].retention.delete_garbage(at=world.at + KEPT)
    assert objects_in(bucket) == []
    nodes[1].at = world.at
    with pytest.raises(NotFound, match="prepare it again"):
        await content_of(nodes[1], export)


async def test_the_oldest_of_a_stream_go_first(nodes, bucket):
    world = nodes[0]
    stream, other = (await world.crawler()).stream, (await world.crawler()).stream
    kept = await prepared(world, other)
    exports = [await prepared(world, stream, b"%d" % number) for number in range(MOST + 2)]
    assert len(objects_in(bucket)) == 2 * (MOST + 1)
    for gone in exports[:2]:
        with pytest.raises(NotFound):
            await content_of(world, gone)
    assert await content_of(world, exports[2]) == b"2"
    assert await content_of(world, kept) == b"content"


async def test_what_is_no_id_is_not_found(nodes):
    with pytest.raises(NotFound):
        await SharedExports(nodes[0].db, nodes[0].store).find("../x", "y", at=nodes[0].at)
