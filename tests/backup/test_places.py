"""What a place for backups does, whatever it is: a directory, SeaweedFS, or moto's S3; and backups in such a place."""

import asyncio
import json
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore

from builders import SECRET, World
from headwater.backup import places
from headwater.backup.archive import Archive
from headwater.backup.places import LOCK, BackupWrong, Bucket, Directory, Place, place_at
from headwater.backup.restore import restore
from headwater.backup.save import save
from headwater.backup.scheduled import BackupCommand, BackupFailed
from headwater.backup.verify import Pace, Verification
from headwater.catalog import inspection
from headwater.catalog.core.database import Database
from headwater.settings import Settings, SettingsWrong
from lakes import needs_directory, objects_in


@pytest.fixture
def url(sqlite_url) -> str:
    return sqlite_url


@pytest.fixture(params=["directory", "seaweedfs", "moto"])
def place(request, tmp_path) -> Place:
    if request.param == "directory":
        return Directory(tmp_path / "backups")
    store = request.getfixturevalue(request.param)
    url = store.url()
    return Bucket(store.opened(url), tmp_path / "scratch", name=url)


@pytest.fixture
def bucket() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def archive(bucket, tmp_path) -> Archive:
    return Archive(Bucket(bucket, tmp_path / "scratch", name="s3://bucket/backups"))


def test_a_file_is_stored_whole_and_found_with_its_size(place, tmp_path):
    made = place.put([b"ab", memoryview(b"cd")], "files/streams/a/1.parquet")
    assert (made.path, made.size) == ("files/streams/a/1.parquet", 4)
    assert place.put([b"abcd"], "files/2", digest=made.digest).digest == made.digest
    assert b"".join(map(bytes, place.blocks("files/streams/a/1.parquet"))) == b"abcd"
    with pytest.raises(BackupWrong, match=r"files/3 is damaged: its digest is xxh3-128:\w+, not"):
        place.put([b"abce"], "files/3", digest=made.digest)
    assert place.sizes("files") == {"files/streams/a/1.parquet": 4, "files/2": 4}
    assert place.sizes("files/streams/b") == {}
    with pytest.raises(FileNotFoundError):
        list(place.blocks("files/3"))
    place.delete(["files/2", "files/3", "files/streams/a/1.parquet"])
    assert place.sizes("files") == {}
    assert [file for file in (tmp_path / "scratch").rglob("*") if file.is_file()] == []


def test_one_process_at_a_time_makes_a_backup_in_a_place(place):
    with place.locked() as lock:
        assert lock.is_exclusive
        lock.require()
        with pytest.raises(BackupWrong, match="another process makes a backup in"), place.locked():
            pass
        lock.require()
    with place.locked() as lock:
        lock.require()


@pytest.fixture(params=["seaweedfs", "moto"])
def remote(request, tmp_path):
    """A store, and a place in it."""
    store = request.getfixturevalue(request.param)
    url = store.url()
    return store.opened(url), Bucket(store.opened(url), tmp_path / "scratch", name=url)


def test_the_lock_of_a_process_that_was_killed_counts_until_it_is_old(remote, monkeypatch):
    client, place = remote
    obstore.put(client, LOCK, b"of one that was killed")
    with pytest.raises(BackupWrong, match="The lock of one that was killed counts for 15 minutes"), place.locked():
        pass
    monkeypatch.setattr(places, "LEASE", timedelta(seconds=-3600))  # as if so long ago
    with place.locked():
        assert b"token" in obstore.get(client, LOCK).bytes().to_bytes()
    assert objects_in(client) == []


def test_a_lock_that_another_process_has_taken_over_is_lost_and_left_to_it(remote, monkeypatch):
    client, place = remote
    monkeypatch.setattr(places, "RENEW_EVERY", 0.05)
    with place.locked() as lock:
        obstore.put(client, LOCK, b"of another")
        _until_lost(lock)
    assert obstore.get(client, LOCK).bytes().to_bytes() == b"of another"


def _until_lost(lock: places.Lock) -> None:
    for _ in range(3000):
        try:
            lock.require()
        except BackupWrong as error:
            assert "could not be renewed" in str(error)
            return
        time.sleep(0.01)
    pytest.fail("the lock is not lost")


async def test_a_backup_whose_lock_could_not_be_renewed_does_not_count(world, url, archive, monkeypatch):
    await world.crawler()
    with archive.locked():
        monkeypatch.setattr(places, "LEASE", timedelta(seconds=-1))
        with pytest.raises(BackupWrong, match="could not be renewed"):
            await asyncio.to_thread(save, archive, world.store, url=url, at=world.at)
    assert archive.names() == []
    assert archive.place.sizes("backups") == {}


@needs_directory
async def test_backups_in_a_bucket_are_incremental_checked_and_forgotten(world, url, bucket, archive, tmp_path):
    world.as_files = True
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": "a"}])
    with archive.locked():
        earlier = await asyncio.to_thread(save, archive, world.store, url=url, at=world.at)
    before = await world.export(crawler.stream)
    await world.done(crawler, [{"id": "b"}])
    await world.delete(first)
    obstore.put(bucket, "backups/20200101T000000Z-00000000/catalog.sqlite", b"of one that was killed")
    with archive.locked():
        later = await asyncio.to_thread(save, archive, world.store, url=url, at=world.clock())
    assert (earlier.new_files, later.new_files, len(later.manifest.files)) == (1, 1, 2)
    assert archive.names() == [earlier.manifest.name, later.manifest.name]
    assert objects_in(bucket) == sorted(
        [f"files/{file.path}" for file in later.manifest.files]
        + [f"backups/{name}/{file}" for name in archive.names() for file in ("catalog.sqlite", "manifest.json")]
    )
    data = tmp_path / "restored"
    there = f"sqlite:///{data / 'catalog.sqlite'}"
    restore(archive, archive.manifest(earlier.manifest.name), data, url=there)
    restored = World(Database(there), data)
    assert await restored.export(crawler.stream) == before
    restored.close()
    restored.db.close()
    (file,) = earlier.manifest.files
    obstore.put(bucket, f"files/{file.path}", b"x" * file.size)
    with pytest.raises(BackupWrong, match=f"{file.path} of the backup is damaged: its digest"):
        restore(archive, later.manifest, tmp_path / "two", url=there)
    obstore.delete(bucket, f"files/{file.path}")
    with pytest.raises(BackupWrong, match=f"{file.path} is missing in the backup"):
        restore(archive, later.manifest, tmp_path / "three", url=there)
    assert archive.forget(1) == 0
    assert archive.names() == [later.manifest.name]
    obstore.put(bucket, "files/streams/stranger.parquet", b"x")
    assert archive.forget(1) == 1


@needs_directory
async def test_the_scheduled_command_fills_a_bucket_from_which_the_command_restores(
    world, url, moto, tmp_path, monkeypatch
):
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    world.as_files = True
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    target = moto.url()
    settings = Settings(data=tmp_path, database_url=url, backup_to=target, backup_keep=1, secret_key=SECRET)
    command = BackupCommand.of(settings)
    first, second = await command.run(), await command.run()
    assert (first.files, first.new_files, second.new_files) == (1, 1, 0)
    data = tmp_path / "restored"
    assert await asyncio.to_thread(_run, "restore", target, "--list") == f"{second.name}\n"
    told = await asyncio.to_thread(_run, "restore", target, "--data", data)
    assert told.startswith(f"Backup {second.name} of ")
    report = json.loads(await asyncio.to_thread(_run, "verify", "--data", data, "--json"))
    assert (report["sound"], report["files"]) == (True, 1)
    away = BackupCommand.of(settings.model_copy(update={"backup_to": f"s3://no-such-bucket-{world.at:%H}/x"}))
    with pytest.raises(BackupFailed, match="s3://no-such-bucket"):
        await away.run()


def _run(*words: object) -> str:
    command = [sys.executable, "-m", "headwater", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"backup_to": "ftp://bucket/x"}, "is no place in an object store"),
        ({"backup_to": "s3://key:secret@bucket/x"}, "credentials are in the environment"),
        ({"backup_to": "s3://lake/a/b", "lake_url": "s3://lake/a"}, "backup_to: s3://lake/a/b is in the lake"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused(given, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsWrong, match=why):
        Settings.read(**given)
    assert Settings.read(backup_to="s3://lake/ab", lake_url="s3://lake/a").backup_to == "s3://lake/ab"
    with pytest.raises(BackupWrong, match="is no place in an object store"):
        place_at("ftp://bucket/x", tmp_path)


async def test_a_lake_in_a_bucket_is_verified_and_backed_up_past_its_local_copies(world, url, bucket, tmp_path):
    node = World(world.db, tmp_path / "node", client=bucket)
    node.as_files = True
    crawler = await node.crawler()
    await node.done(crawler, [{"id": "a"}])
    await node.done(crawler, [{"id": "b"}])
    one, two = [file.path for file in await world.db.read(inspection.files)]
    # The copy of one is damaged, and the object itself of the other.
    with node.store.reading([one]):
        Path(node.store.locate(one)).write_bytes(b"x")  # noqa: ASYNC240 - a small file
    obstore.put(bucket, two, b"x")

    def verified():
        return Verification(node.db, node.store, tmp_path, pace=Pace(None), at=node.clock()).run()

    report = await asyncio.to_thread(verified)
    assert [(finding.kind, finding.where) for finding in report.findings] == [("file-damaged", two)]
    archive = Archive(Directory(tmp_path / "backups"))
    with pytest.raises(BackupWrong, match=f"{two} is damaged"):
        await asyncio.to_thread(save, archive, node.store, url=url, at=node.clock())
    assert list(archive.sizes()) == [one]
    node.close()


@needs_directory
async def test_a_store_that_does_not_answer_ends_a_verification_which_goes_on_later(world, tmp_path, monkeypatch):
    node = World(world.db, tmp_path / "node", client=MemoryStore())
    node.as_files = True
    crawler = await node.crawler()
    await node.done(crawler, [{"id": "a"}])
    await node.done(crawler, [{"id": "b"}])
    fetch, asked = node.store._fetch, []  # noqa: SLF001 - the network

    def away(path, target):
        asked.append(path)
        if len(asked) == 2:
            raise OSError(113, "the store does not answer")
        fetch(path, target)

    monkeypatch.setattr(node.store, "_fetch", away)

    def verified(*, resume):
        return Verification(node.db, node.store, tmp_path, pace=Pace(None), at=node.clock()).run(resume=resume)

    with pytest.raises(OSError, match="does not answer"):
        await asyncio.to_thread(verified, resume=False)
    report = await asyncio.to_thread(verified, resume=True)
    assert (report.findings, report.files, report.skipped) == ([], 2, 1)
    node.close()
