"""Iceberg tables of a lake in an object store, which two nodes share."""

import asyncio
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore
from sqlalchemy import update

from builders import World
from headwater.catalog import iceberg_snapshots, lake_place
from headwater.catalog import tables as schema
from headwater.domain.errors import Unavailable
from headwater.ingest.orphans import GRACE_OF_INTENDED, delete_orphans
from headwater.streams import shared_iceberg
from headwater.streams.iceberg import KEPT, READERS_LEAVE, Table, Warehouse
from headwater.streams.shared_iceberg import SharedIcebergTables
from iceberg_history import exported, play
from iceberg_reader import rows
from lakes import objects_in

MINUTE = timedelta(minutes=1)


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


def tables_of(world: World) -> SharedIcebergTables:
    return SharedIcebergTables(world.db, world.engine, world.store, clock=world.clock)


@pytest.fixture
def tables(world) -> SharedIcebergTables:
    return tables_of(world)


@pytest.fixture
def copied(tmp_path, bucket) -> "Copied":
    return Copied(tmp_path / "copied", bucket)


class Copied:
    """A warehouse that names the files of a folder; what is in the bucket is copied there before it is read."""

    def __init__(self, folder: Path, bucket: MemoryStore) -> None:
        root = f"file://{folder}"
        self.folder, self.bucket = folder, bucket
        self.warehouse = Warehouse(
            name="store", location=lambda stream: f"{root}/streams/{stream}", locate=lambda path: f"{root}/{path}"
        )

    def rows(self, table: Table, version: int | None = None) -> list[tuple[str, str, str]]:
        for path in objects_in(self.bucket):
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(obstore.get(self.bucket, path).bytes().to_bytes())
        return rows(table.metadata, version)


def of_tables(bucket: MemoryStore) -> list[str]:
    return [path for path in objects_in(bucket) if "/iceberg/" in path]


async def swept(world: World, tables: SharedIcebergTables) -> None:
    await tables.sweep(world.clock())
    await world.retention.delete_garbage(at=world.clock())


@pytest.mark.parametrize("seed", range(3))
async def test_after_any_history_every_version_is_the_rows_of_its_export_on_each_node(
    world, node, tables, copied, seed
):
    stream = await play(world, seed=seed)
    both = (tables, tables_of(node))
    present = (await world.stream(stream)).stream_version
    for version in range(present + 1):
        table = await both[version % 2].table(stream, version, copied.warehouse)
        again = await both[1 - version % 2].table(stream, version, copied.warehouse)
        assert (again.metadata, again.metadata_location) == (table.metadata, table.metadata_location)
        assert copied.rows(table) == await exported(world, stream, version), version
    table = await tables.table(stream, None, copied.warehouse)
    assert [one["snapshot-id"] for one in table.metadata["snapshots"]] == list(range(1, present + 1))
    for version in range(1, present + 1):
        assert copied.rows(table, version) == await exported(world, stream, version)


async def test_all_files_lie_below_the_location_of_the_table(world, tables, copied):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    await world.done(crawler, [{"id": "b"}])
    await world.fold()
    await world.done(crawler, [{"id": "c"}])
    table = await tables.table(crawler.stream, None, copied.warehouse)
    location = table.metadata["location"]
    assert table.metadata_location.startswith(f"{location}/")
    assert table.metadata["snapshots"][0]["manifest-list"].startswith(f"{location}/")
    for path in objects_in(copied.bucket):
        assert copied.warehouse.locate(path).startswith(f"{location}/")


async def test_a_version_is_made_once_and_the_next_one_uses_its_copies(world, node, tables, copied, bucket):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    await tables.table(crawler.stream, None, copied.warehouse)
    made = of_tables(bucket)
    await tables_of(node).table(crawler.stream, None, copied.warehouse)
    assert of_tables(bucket) == made
    await world.done(crawler, [{"id": "b"}])
    await tables_of(node).table(crawler.stream, None, copied.warehouse)
    assert len([path for path in of_tables(bucket) if "/copies/" in path]) == 2


async def test_nodes_that_make_the_same_version_at_a_time_keep_one(world, node, tables, copied, monkeypatch):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    both = asyncio.Barrier(2)
    look_at = shared_iceberg.renewed  # where both have found nothing

    async def together(*args):
        found = await look_at(*args)
        await both.wait()
        return found

    monkeypatch.setattr(shared_iceberg, "renewed", together)
    found = await asyncio.gather(
        *(one.table(crawler.stream, None, copied.warehouse) for one in (tables, tables_of(node)))
    )
    assert found[0].metadata == found[1].metadata
    assert copied.rows(found[0]) == await exported(world, crawler.stream)


async def test_what_nobody_asks_for_is_deleted_after_a_day(world, tables, copied, bucket):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    table = await tables.table(crawler.stream, None, copied.warehouse)
    world.at += KEPT - MINUTE
    await swept(world, tables)
    assert copied.rows(table) == await exported(world, crawler.stream)
    world.at += 2 * MINUTE
    await swept(world, tables)
    assert of_tables(bucket) == []
    table = await tables.table(crawler.stream, None, copied.warehouse)
    assert copied.rows(table) == await exported(world, crawler.stream)


async def test_what_is_asked_for_stays(world, node, tables, copied):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    for one in (tables, tables_of(node), tables):
        table = await one.table(crawler.stream, None, copied.warehouse)
        world.at += KEPT - MINUTE
        await swept(world, tables)
        assert copied.rows(table) == await exported(world, crawler.stream)


async def test_of_many_snapshots_those_asked_for_last_are_kept(world, tables, copied, monkeypatch):
    monkeypatch.setattr(shared_iceberg, "MOST_KEPT", 2)
    crawler = await world.crawler()
    for n in range(4):
        await world.done(crawler, [{"id": f"{n}"}])
        await tables.table(crawler.stream, None, copied.warehouse)
        world.at += MINUTE
    await swept(world, tables)
    world.at += READERS_LEAVE
    assert await tables.sweep(world.clock()) == 2
    await swept(world, tables)
    table = await tables.table(crawler.stream, None, copied.warehouse)
    assert [one["snapshot-id"] for one in table.metadata["snapshots"]] == [3, 4]
    assert copied.rows(table, 3) == await exported(world, crawler.stream, 3)


async def test_an_erased_document_is_in_no_object_when_readers_have_left(world, tables, copied, bucket):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a", "v": "a secret"}, {"id": "b"}])
    before = await tables.table(crawler.stream, None, copied.warehouse)
    await world.document_erasure.erase(crawler.stream, "a")
    after = await tables.table(crawler.stream, None, copied.warehouse)
    assert [row[0] for row in copied.rows(after)] == ["b"]
    assert [row[0] for row in copied.rows(before)] == ["a", "b"]
    world.at += READERS_LEAVE + MINUTE
    await swept(world, tables)
    assert [row[0] for row in copied.rows(after)] == ["b"]
    former = before.metadata["snapshots"][-1]["manifest-list"].rpartition("/")[0].rpartition("/")[2]
    assert not [path for path in objects_in(bucket) if former in path]
    copies = [path for path in of_tables(bucket) if "/copies/" in path]
    assert len(copies) == 1


async def test_the_tables_of_a_deleted_stream_are_deleted(world, tables, copied, bucket):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    await tables.table(crawler.stream, None, copied.warehouse)

    def let_it_be_gone(tx) -> None:
        tx.execute(update(schema.iceberg_snapshots).values(stream="0" * 32))

    await world.db.write(let_it_be_gone)
    world.at += READERS_LEAVE + MINUTE
    await swept(world, tables)
    assert of_tables(bucket) == []


async def test_what_a_crash_left_is_deleted(world, tables, copied, bucket, monkeypatch):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])

    def crashed(*_args, **_kwargs):
        raise Unavailable("killed")

    with monkeypatch.context() as patched:
        patched.setattr(iceberg_snapshots, "add", crashed)
        with pytest.raises(Unavailable, match="killed"):
            await tables.table(crawler.stream, None, copied.warehouse)
    assert of_tables(bucket)
    world.at += GRACE_OF_INTENDED + MINUTE
    await delete_orphans(world.db, world.store, at=world.clock())
    await swept(world, tables)
    assert of_tables(bucket) == []


async def test_a_lake_that_moved_has_no_snapshots(world, tables, copied):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    await tables.table(crawler.stream, None, copied.warehouse)
    await world.db.write(lake_place.move, "s3://elsewhere/lake")
    found = await world.db.read(
        iceberg_snapshots.usable, crawler.stream, copied.warehouse.name, layout=0, at=world.clock()
    )
    assert found == []


async def test_a_store_that_does_not_answer_is_told(world, tables, copied, monkeypatch):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])

    def away(*_args):
        raise OSError(113, "the store does not answer")

    monkeypatch.setattr(world.store, "keep", away)
    with pytest.raises(Unavailable, match="does not answer"):
        await tables.table(crawler.stream, None, copied.warehouse)
