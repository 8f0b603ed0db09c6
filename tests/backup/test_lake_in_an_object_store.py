"""Backups of a lake in an object store, by which a lake is moved, too; and where a catalog expects its lake."""

import asyncio
import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from builders import SECRET, World
from headwater import bootstrap
from headwater.backup.archive import Archive
from headwater.backup.places import Directory
from headwater.backup.restore import restore
from headwater.backup.save import save
from headwater.backup.verify import Pace, Verification
from headwater.catalog import lake_place
from headwater.catalog.core.database import Database
from headwater.lake.object_store import ObjectStore
from headwater.lake.scratch import scratch_folder
from headwater.lake.store import LocalStore
from headwater.settings import Settings
from lakes import needs_directory, objects_in

ELSEWHERE = "s3://bucket/prefix"


@pytest.fixture
def url(sqlite_url) -> str:
    return sqlite_url


@contextmanager
def _opened(bucket: MemoryStore, folder: Path):
    """A lake as a command opens it that has no catalog yet."""
    with scratch_folder(folder / "held") as held:
        store = ObjectStore(bucket, folder, held, most_cached=1 << 30)
        yield store
        store.close()


def _verified(world: World, data: Path) -> list:
    return Verification(world.db, world.store, data, pace=Pace(None), at=world.at).run().findings


@needs_directory
async def test_a_lake_moves_to_a_bucket_and_back_by_a_backup(world, url, tmp_path):
    crawler = await world.crawler()
    world.as_files = True
    task = await world.done(crawler, [{"id": "a"}, {"id": "b"}])
    await world.done(crawler, [{"id": "b", "n": 2}])
    before = await world.export(crawler.stream)
    archive = Archive(Directory(tmp_path / "backups"))
    saved = await asyncio.to_thread(save, archive, world.store, url=url, at=world.at)
    # To a bucket, twice: what is there already is not another file.
    bucket = MemoryStore()
    for name in ("moved", "again"):
        data = tmp_path / name
        there = f"sqlite:///{data / 'catalog.sqlite'}"
        opened = partial(_opened, bucket, tmp_path / f"put-{name}")
        await asyncio.to_thread(restore, archive, saved.manifest, data, url=there, opened=opened)
    db = Database(there)
    moved = World(db, tmp_path / "node", client=bucket)
    assert len(objects_in(bucket)) == len(saved.manifest.files)
    assert await moved.export(crawler.stream) == before
    assert await asyncio.to_thread(_verified, moved, data) == []
    await moved.delete(task)
    after = await moved.export(crawler.stream)
    # And back.
    again = await asyncio.to_thread(save, archive, moved.store, url=there, at=world.clock())
    moved.close()
    db.close()
    back = tmp_path / "back"
    restore(archive, again.manifest, back, url=f"sqlite:///{back / 'catalog.sqlite'}")
    db = Database(f"sqlite:///{back / 'catalog.sqlite'}")
    home = World(db, back)
    assert await home.export(crawler.stream) == after
    home.close()
    db.close()


def _settings(data: Path, lake_url: str | None) -> Settings:
    return Settings(data=data, secret_key=SECRET, lake_url=lake_url)


def test_a_new_catalog_remembers_its_lake_and_no_other_is_used(tmp_path):
    local = _settings(tmp_path / "data", None)
    bootstrap.prepare(local, at=datetime.now(UTC))
    with bootstrap.opened_catalog(local) as db:
        assert db.read_blocking(lake_place.find) == (None,)
        with bootstrap.opened_store(local, db) as store:
            assert isinstance(store, LocalStore)
        with (
            pytest.raises(bootstrap.NotReady, match="in a data directory, and the setting lake_url names s3://bucket"),
            bootstrap.opened_store(_settings(tmp_path / "data", ELSEWHERE), db),
        ):
            pass
    # After a restore.
    bootstrap.record_lake_place(_settings(tmp_path / "data", ELSEWHERE))
    with pytest.raises(bootstrap.NotReady, match="the setting lake_url names none"):
        bootstrap.prepare(local, at=datetime.now(UTC))


@needs_directory
async def test_a_catalog_of_an_older_release_has_its_lake_in_the_data_directory(world):
    crawler = await world.crawler()
    world.as_files = False
    await world.done(crawler, [{"id": "a"}])
    world.as_files = True
    await world.done(crawler, [{"id": "a"}])
    assert await world.db.write(lake_place.settle, ELSEWHERE) is None
    assert await world.db.write(lake_place.settle, ELSEWHERE) is None


async def test_a_catalog_with_inlined_documents_only_may_get_a_bucket(world):
    world.as_files = False
    await world.done(await world.crawler(), [{"id": "a"}])
    assert await world.db.write(lake_place.settle, ELSEWHERE) == ELSEWHERE


def test_a_bucket_that_cannot_be_reached_ends_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("headwater.lake.object_store._RETRY", {"max_retries": 0})
    with pytest.raises(bootstrap.NotReady, match="the lake cannot be used: s3://bucket/prefix does not answer"):
        bootstrap.prepare(_settings(tmp_path / "data", ELSEWHERE), at=datetime.now(UTC))


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("/data", "no place"),
        ("https://bucket.example.org", "no place"),
        ("s3:///x", "no place"),
        ("s3://key:secret@bucket/x", "credentials are in the environment"),
        ("s3://bucket/x?region=y", "credentials are in the environment"),
    ],
)
def test_what_is_no_place_for_a_lake_is_refused(url, fault):
    with pytest.raises(ValueError, match=fault) as raised:
        Settings(lake_url=url)
    assert "secret" not in str(raised.value.errors(include_input=False))
    assert Settings(lake_url="s3://bucket/x/").lake_url == "s3://bucket/x"


def test_a_catalog_that_is_not_migrated_yet_can_be_backed_up(tmp_path):
    settings = _settings(tmp_path / "data", None)
    bootstrap.prepare(settings, at=datetime.now(UTC))
    with sqlite3.connect(tmp_path / "data/catalog.sqlite") as connection:
        connection.execute("DROP TABLE lake_place")
        connection.execute("UPDATE alembic_version SET version_num = '0030'")
    connection.close()
    with bootstrap.opened_store_to_back_up(settings) as store:
        assert isinstance(store, LocalStore)
