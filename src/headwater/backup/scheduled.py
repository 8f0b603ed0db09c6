"""Makes backups by the schedule of the settings: one process of all servers makes each.

It runs ``headwater backup`` as a process of its own, so that neither requests nor the end of the server wait for it.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from headwater.catalog import scheduled_backups
from headwater.catalog.core.database import Database
from headwater.catalog.scheduled_backups import MadeBackup, ScheduledBackups
from headwater.domain.schedule import Schedule, next_run
from headwater.settings import PREFIX, Settings

log = structlog.get_logger(__name__)

#: Seconds between looks at the schedule: settings of other servers and their backups become known so.
LOOK_EVERY = 30.0
#: How long a process that makes a backup may be silent until another one may try.
LEASE = timedelta(minutes=5)
#: Seconds between extensions of the lease.
EXTEND_EVERY = 60.0
#: The pause after the first failure; each further one doubles it, up to the longest. A due backup comes sooner.
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
#: Characters of an error that are kept.
LONGEST_ERROR = 1000
#: Seconds for which a backup may clean up when the server ends.
STOP_WITHIN = 5.0


class BackupFailed(Exception):
    """A backup could not be made."""


@dataclass(frozen=True, kw_only=True)
class BackupCommand:
    """``headwater backup`` with the settings of a server."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]

    @classmethod
    def of(cls, settings: Settings) -> "BackupCommand":
        """Return the command for the settings, which have ``backup_to``."""
        keep = () if settings.backup_keep is None else (f"--keep={settings.backup_keep}",)
        given = {"data": str(settings.data), "database_url": settings.database_url, "lake_url": settings.lake_url}
        own = {f"{PREFIX}{name}".upper(): value for name, value in given.items() if value is not None}
        return cls(
            arguments=("-m", "headwater", "backup", settings.backup_to or "", "--json", *keep),
            # Not as arguments, which other users of the machine can read.
            environment=os.environ | own,
        )

    async def run(self) -> MadeBackup:
        """Make a backup; the process is ended if this is cancelled.

        Raises:
            BackupFailed: it could not be made.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self.arguments,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await process.communicate()
        except BaseException:
            await _ended(process)
            raise
        if process.returncode:
            why = errors.decode(errors="replace").strip().splitlines()
            text = why[-1].removeprefix("headwater: ") if why else f"it ended with {process.returncode}"
            raise BackupFailed(text[:LONGEST_ERROR])
        made = json.loads(output)
        return MadeBackup(
            name=made["backup"],
            files=made["files"],
            new_files=made["new_files"],
            bytes=made["bytes"],
            new_bytes=made["new_bytes"],
        )


class BackupSchedule:
    """The loop that makes backups when they are due."""

    def __init__(
        self, db: Database, command: BackupCommand, *, schedule: Schedule, clock: Callable[[], datetime]
    ) -> None:
        """Run ``command`` by ``schedule``; ``db`` remembers when it ran."""
        self._db = db
        self._command = command
        self._schedule = schedule
        self._clock = clock

    async def turn(self) -> bool:
        """Make a backup if one is due and no other process makes it; return whether one was tried.

        A backup that fails is logged and recorded, and is not an error of the loop.
        """
        at = self._clock()
        seen = await self._db.read(scheduled_backups.find) or await self._db.write(scheduled_backups.begin, at)
        if at < due_at(seen, self._schedule, at=at):
            return False
        if not await self._db.write(scheduled_backups.claim, seen, at=at, until=at + LEASE):
            return False
        try:
            made = await self._leased(began=at)
        except (BackupFailed, OSError, ValueError, KeyError) as error:
            why = str(error) or type(error).__name__
            log.error("backup.failed", why=why)  # noqa: TRY400 - the command has said why
            await self._db.write(scheduled_backups.fail, why, at=self._clock())
        except asyncio.CancelledError:
            # The server ends: whoever runs next makes it.
            with contextlib.suppress(Exception):
                await self._db.write(scheduled_backups.release, seen, began=at)
            raise
        else:
            log.info("backup.created", backup=made.name, files=made.files, new_files=made.new_files)
            await self._db.write(scheduled_backups.succeed, made, at=self._clock())
        return True

    async def _leased(self, *, began: datetime) -> MadeBackup:
        """Run the command, and keep the lease meanwhile."""
        keeping = asyncio.create_task(self._keep_lease(began))
        try:
            return await self._command.run()
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    async def _keep_lease(self, began: datetime) -> None:
        while True:
            await asyncio.sleep(EXTEND_EVERY)
            try:
                await self._db.write(scheduled_backups.extend, began=began, until=self._clock() + LEASE)
            except Exception:  # the directory itself is locked: a second process is refused
                log.exception("backup.lease_not_extended")


def due_at(seen: ScheduledBackups, schedule: Schedule, *, at: datetime) -> datetime:
    """Return when the next backup is due.

    With an interval, the first is due at once. A failed one is tried again after a growing pause. One that was due
    while no server ran is due as soon as one does.
    """
    is_first = seen.last_made_at is None and seen.last_failed_at is None
    # The clock may have been set back: what counts from a time in the future would not come for long.
    if seen.counted_from > at or (is_first and schedule.every is not None):
        return at
    plan = next_run(schedule, after=seen.counted_from, last=seen.counted_from, rng=lambda: 0.0)
    due = plan.planned_at if plan is not None else datetime.max.replace(tzinfo=at.tzinfo)
    if seen.failed_in_a_row == 0 or seen.last_failed_at is None:
        return due
    pause = min(FIRST_PAUSE * 2 ** min(seen.failed_in_a_row - 1, 10), LONGEST_PAUSE)
    return min(due, seen.last_failed_at + pause)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """End a process, and wait for that."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_WITHIN):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
