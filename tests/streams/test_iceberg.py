import os
from datetime import UTC, datetime, timedelta

import pytest

from change_set_builders import telling
from headwater.api import iceberg_access
from headwater.domain.errors import RequestInvalid
from headwater.domain.task import Mode
from headwater.streams import iceberg
from headwater.streams.iceberg import KEPT, READERS_LEAVE, IcebergTables
from iceberg_history import exported, play
from iceberg_reader import rows
from lakes import needs_directory

pytestmark = needs_directory


@pytest.fixture
def tables(world) -> IcebergTables:
    return IcebergTables(world.db, world.engine, world.store)


@pytest.fixture
def local(world):
    return iceberg_access.warehouse("local", world.store, None)


async def same_everywhere(world, tables, local, stream) -> None:
    """Every version of the stream is the same rows as its export."""
    present = (await world.stream(stream)).stream_version
    for version in range(present + 1):
        table = await tables.table(stream, version, local)
        assert table.version == version
        assert rows(table.metadata) == await exported(world, stream, version), version
    table = await tables.table(stream, None, local)
    assert [one["snapshot-id"] for one in table.metadata["snapshots"]] == list(range(1, present + 1))
    for version in range(1, present + 1):
        assert rows(table.metadata, version) == await exported(world, stream, version)


async def test_every_version_is_the_rows_of_its_export(world, tables, local):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": f"a{n}", "v": 1} for n in range(5)])
    second = await world.done(crawler, [{"id": f"a{n}", "v": 2} for n in range(2, 8)] + [{"id": "a3", "v": "again"}])
    await same_everywhere(world, tables, local, crawler.stream)
    await world.delete(second)
    third = await world.done(crawler, [{"id": "é\n\"'" + "x" * 200, "v": 3}])
    assert await world.fold() == 1
    await same_everywhere(world, tables, local, crawler.stream)
    await world.restore(second)
    await world.delete(first)
    await world.done(crawler, [{"id": "a1", "v": 4}])
    await world.fold()
    await world.delete(third)
    await same_everywhere(world, tables, local, crawler.stream)


@pytest.mark.parametrize("seed", range(5))
async def test_after_any_history_every_version_is_the_rows_of_its_export(world, tables, local, seed):
    await same_everywhere(world, tables, local, await play(world, seed=seed))


async def test_an_empty_stream_is_a_table_without_snapshots(world, tables, local):
    crawler = await world.crawler()
    table = await tables.table(crawler.stream, None, local)
    assert (table.metadata["snapshots"], table.metadata["current-snapshot-id"]) == ([], -1)
    with pytest.raises(RequestInvalid):
        await tables.table(crawler.stream, 1, local)


async def test_a_version_is_made_once(world, tables, local):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    first = await tables.table(crawler.stream, None, local)
    made = {file: file.stat().st_ino for file in world.store.root.glob("iceberg/**/*.*") if file.is_file()}
    again = await tables.table(crawler.stream, None, local)
    assert (again.metadata, again.metadata_location) == (first.metadata, first.metadata_location)
    kept = {file: file.stat().st_ino for file in made if file.suffix != ".json" or file.name == "snapshot.json"}
    assert kept.items() <= made.items()
    assert not list(world.store.root.glob("iceberg/**/*.new"))


async def test_of_many_snapshots_those_asked_for_last_are_kept(world, tables, local, monkeypatch):
    monkeypatch.setattr(iceberg, "MOST_KEPT", 2)
    crawler = await world.crawler()
    for n in range(4):
        await world.done(crawler, [{"id": f"{n}"}])
        await tables.table(crawler.stream, None, local)
    now = datetime.now(UTC)
    assert await tables.sweep(now) == 0
    assert await tables.sweep(now + READERS_LEAVE + timedelta(minutes=1)) == 2
    table = await tables.table(crawler.stream, None, local)
    assert [one["snapshot-id"] for one in table.metadata["snapshots"]] == [3, 4]
    assert rows(table.metadata, 3) == await exported(world, crawler.stream, 3)


async def test_what_nobody_asks_for_is_deleted_after_a_day(world, tables, local):
    crawler = await world.crawler()
    world.as_files = True
    await world.done(crawler, [{"id": "a"}])
    table = await tables.table(crawler.stream, None, local)
    now = datetime.now(UTC)
    assert await tables.sweep(now + KEPT - timedelta(minutes=1)) == 0
    assert rows(table.metadata) == await exported(world, crawler.stream)
    assert await tables.sweep(now + KEPT + timedelta(minutes=1)) == 1
    assert [file for file in world.store.root.glob("iceberg/**/*") if file.is_file()] == []
    assert rows((await tables.table(crawler.stream, None, local)).metadata) == await exported(world, crawler.stream)


@pytest.mark.parametrize("as_files", [True, False])
async def test_an_erased_document_is_in_no_file_an_hour_later(world, tables, local, as_files):
    crawler = await world.crawler()
    world.as_files = as_files
    await world.done(crawler, [{"id": "a", "v": "a secret"}, {"id": "b", "v": "kept"}])
    before = await tables.table(crawler.stream, None, local)
    await world.document_erasure.erase(crawler.stream, "a")
    after = await tables.table(crawler.stream, None, local)
    assert [row[0] for row in rows(after.metadata)] == ["b"]
    assert [row[0] for row in rows(before.metadata)] == ["a", "b"]
    now = datetime.now(UTC)
    await tables.sweep(now + READERS_LEAVE + timedelta(minutes=1))
    await world.purge()
    for file in world.store.root.glob("iceberg/**/*"):
        if file.is_file() and file.suffix != ".parquet":
            assert b"a secret" not in file.read_bytes()
            file.unlink()  # the rest is read as Parquet
    assert telling(world, "a secret") == []


async def test_old_copies_of_present_segments_are_kept_while_they_are_used(world, tables, local):
    crawler = await world.crawler()
    world.as_files = True
    await world.done(crawler, [{"id": "a"}])
    await tables.table(crawler.stream, None, local)
    for file in world.store.root.glob("iceberg/**/*"):
        os.utime(file, (0, 0))
    table = await tables.table(crawler.stream, None, local)
    await tables.sweep(datetime.now(UTC))
    assert rows(table.metadata) == await exported(world, crawler.stream)


async def test_what_deletions_and_snapshots_of_a_part_hide_is_not_in_the_table(world, tables, local):
    crawler = await world.crawler()
    shops = {"a": "north", "b": "south", "c": "north", "d": "south"}
    await world.done(crawler, [{"id": name, "shop": shop} for name, shop in shops.items()])
    lines = [{"id": "a", "shop": "north"}, {"$delete": "d"}]
    second = await world.done(crawler, lines, mode=Mode.SNAPSHOT, scope=["shop=north"])
    await same_everywhere(world, tables, local, crawler.stream)
    assert set(await world.shown(crawler.stream)) == {"a", "b"}
    await world.fold()
    await same_everywhere(world, tables, local, crawler.stream)
    await world.delete(second)
    await same_everywhere(world, tables, local, crawler.stream)
