"""Verifies all files in the background, a few at a time, so that damage is found before a file is needed.

The files that are due are in proportion to the time that has passed of a pass. What reads and decodes them rests most
of the time, so that requests hardly notice it.
"""

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from headwater.backup.verify import Finding, Pace, Report, Verification
from headwater.catalog import inspection, scrub_progress, segments
from headwater.catalog.core.database import Database
from headwater.catalog.inspection import LakeFile
from headwater.catalog.scrub_progress import ScrubProgress
from headwater.lake.store import Store
from headwater.loops import repeat

log = structlog.get_logger(__name__)

#: Seconds between looks at whether files are due.
LOOK_EVERY = 60.0
#: Bytes that are read a second.
RATE = 50 << 20
#: The share of a processor that decoding documents takes.
SHARE = 0.1
#: Files between two records of how far it has come, and the seconds after which one is made anyway.
MOST = 50
TURN = 20.0
#: How long a process that checks files may be silent until another one may go on.
LEASE = timedelta(minutes=15)
#: Findings that mean that a file does not hold what was written to it.
_DAMAGED = frozenset({"file-missing", "file-damaged"})


class _Stopped(Exception):
    """The server ends."""


class Scrub:
    """The loop that verifies files."""

    def __init__(
        self,
        db: Database,
        store: Store,
        data: Path,
        *,
        period: timedelta,
        clock: Callable[[], datetime],
        rate: int = RATE,
        share: float = SHARE,
    ) -> None:
        """Verify what ``db`` says of ``store`` completely in each ``period``."""
        self._db = db
        self._store = store
        self._data = data
        self._period = period
        self._clock = clock
        self._pace = Pace(rate)
        self._share = share

    async def run(self) -> None:
        """Run until cancelled; the first look is not at the start, when there is enough to do."""
        await asyncio.sleep(LOOK_EVERY)
        await repeat(self._verify_due, every=LOOK_EVERY, fault="scrub.failed")

    async def _verify_due(self) -> None:
        while await self.turn():
            pass

    async def turn(self) -> bool:
        """Verify the files that are due, some at most; return whether more may be."""
        at = self._clock()
        seen = await self._db.read(scrub_progress.find)
        if seen is None or (seen.after is None and not seen.began_at <= at < seen.began_at + self._period):
            await self._db.write(scrub_progress.begin, seen, at=at)
            return True
        due = min(self._due(seen, at), MOST)
        if seen.after is None or due <= 0:
            return False
        files = await self._db.write(scrub_progress.claim, seen, limit=due, at=at, until=at + LEASE)
        if files is None:
            return False
        if not files:
            found = await self._db.read(lambda tx: list(inspection.disagreements(tx)))
            findings = [Finding(kind=kind, where="catalog", detail=detail) for kind, detail in found]
            await self._tell(findings)
            await self._db.write(scrub_progress.complete, findings=len(findings), at=self._clock())
            return False
        checked, findings = await self._verified(files)
        await self._tell(findings)
        last = files[checked - 1].path
        await self._db.write(scrub_progress.advance, after=last, files=checked, findings=len(findings))
        return True

    def _due(self, seen: ScrubProgress, at: datetime) -> int:
        """Return how many files should be checked by now and are not; one more than all at the end of the pass."""
        if seen.checked >= seen.planned:
            return MOST  # those that came since it began, and then it is complete
        # A clock that was set back must not stop it.
        elapsed = at - seen.began_at if at >= seen.began_at else self._period
        return min(int(seen.planned * (elapsed / self._period)) + 1, seen.planned) - seen.checked

    async def _verified(self, files: list[LakeFile]) -> tuple[int, list[Finding]]:
        is_stopped = threading.Event()
        try:
            return await asyncio.to_thread(self._verify, files, is_stopped)
        finally:
            is_stopped.set()

    def _verify(self, files: list[LakeFile], is_stopped: threading.Event) -> tuple[int, list[Finding]]:
        """Verify files until the time of a turn is over; return how many, and what was found."""
        rest = _Rest(self._share, is_stopped)
        verification = Verification(
            self._db, self._store, self._data, pace=self._pace, at=self._clock(), rest=rest.after_work
        )
        findings: list[Finding] = []
        until = time.monotonic() + TURN
        for number, file in enumerate(files, start=1):
            findings += verification.of_file(file, Report())
            rest.after_work()
            if time.monotonic() >= until:
                return number, findings
        return len(files), findings

    async def _tell(self, findings: list[Finding]) -> None:
        """Log what was found, and record damage, which is an event."""
        for finding in findings:
            if finding.kind == "file-intact":
                log.info("scrub.repaired", path=finding.where)
                await self._db.write(segments.mark_damaged, finding.where, None)
                continue
            log.error("scrub.found", kind=finding.kind, where=finding.where, detail=finding.detail)
            is_lost = finding.kind == "file-unreadable" and finding.detail == os.strerror(errno.EIO)
            if finding.kind in _DAMAGED or is_lost:
                await self._db.write(segments.mark_damaged, finding.where, self._clock())


class _Rest:
    """Lets a thread sleep in proportion to the processor time that it has taken."""

    def __init__(self, share: float, is_stopped: threading.Event) -> None:
        self._share = share
        self._is_stopped = is_stopped
        self._worked = time.thread_time()

    def after_work(self) -> None:
        """Sleep.

        Raises:
            _Stopped: the server ends.
        """
        worked = time.thread_time() - self._worked
        if self._is_stopped.wait(worked * (1 / self._share - 1)):
            raise _Stopped
        self._worked = time.thread_time()
