"""Writes the logs of tasks: parsed, without secrets, bounded, a block at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from headwater.catalog import log_chunks, task_logs
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.task_logs import TaskLog
from headwater.domain.errors import RequestTimedOut
from headwater.domain.log_line import LogLevel, LogLine, parsed
from headwater.domain.redaction import Redactor
from headwater.domain.task import Task
from headwater.lake.disk import Disk
from headwater.lake.log_file import LogFile

#: Bytes that are collected before they are stored.
BLOCK = 256 << 10
#: Characters of lines that are searched for secrets at once, and what stands between them: in no encoding of a text.
_TOGETHER = 8 << 10
_BETWEEN = " \x1f "
#: The share of a log that is left for lines of level ``error`` and above: how a run ended is worth the most.
_FOR_ERRORS = 1 / 16


@dataclass(frozen=True, kw_only=True)
class LogReceipt:
    """How many lines were stored, and how many had no room."""

    lines: int
    dropped: int


class TaskLogWriter:
    """Appends lines to the logs of tasks; their memory is one block, whatever is sent."""

    def __init__(
        self,
        db: Database,
        folder: Path | None,
        *,
        most_bytes: int,
        most_lines: int,
        idle_timeout: float,
        clock: Callable[[], datetime],
        disk: Disk | None = None,
    ) -> None:
        """Bound each attempt's log; refuse a body that sends nothing for ``idle_timeout`` seconds.

        Lines are appended to files in ``folder``; without one, to rows of the catalog.
        """
        self._db = db
        self._folder = folder
        self._most = TaskLog(task="", attempt=0, lines=most_lines, bytes=most_bytes)
        self._idle_timeout = idle_timeout
        self._clock = clock
        self._disk = disk

    async def write(self, task: Task, body: AsyncIterator[bytes], redactor: Redactor) -> LogReceipt:
        """Append the lines of a body to the log of a task's current attempt.

        Raises:
            RequestTimedOut: the body stalled; what had arrived is stored.
            NoRoom: the disk is full.
        """
        if self._disk is not None:
            self._disk.require_room()
        stored = LogReceipt(lines=0, dropped=0)
        async for block in self._blocks(body):
            lines = await asyncio.to_thread(_lines, block, redactor, self._clock())
            if lines:
                stored = await self._store(task, lines, stored)
        return stored

    async def _blocks(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the body in blocks of whole lines; a line longer than a block is cut."""
        held = bytearray()
        pieces = aiter(body)
        while True:
            try:
                async with asyncio.timeout(self._idle_timeout):
                    held += await anext(pieces)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise RequestTimedOut(
                    f"the log sent nothing for {self._idle_timeout:g} s (setting upload_idle_timeout)"
                ) from None
            while len(held) >= BLOCK:
                end = held.rfind(b"\n", 0, BLOCK) + 1 or BLOCK
                yield bytes(held[:end])
                del held[:end]
        if held:
            yield bytes(held)

    async def _store(self, task: Task, lines: list[tuple[LogLine, bytes]], so_far: LogReceipt) -> LogReceipt:
        # The size first: after a crash in between, it says more than there is, and the bound holds all the same.
        stored_at = self._clock() if self._folder is None else None
        log, kept = await self._db.write(_reserve, task, lines, most=self._most, stored_at=stored_at)
        if kept and self._folder is not None:
            file = LogFile(self._folder / log.path)
            await asyncio.to_thread(file.append, b"".join(kept))
            # Followers in other processes were woken by the commit, and look again within a second.
            self._db.notify(task_logs.LOGGED)
        return LogReceipt(lines=so_far.lines + len(kept), dropped=so_far.dropped + len(lines) - len(kept))


def _lines(block: bytes, redactor: Redactor, at: datetime) -> list[tuple[LogLine, bytes]]:
    found = [line for line in (parsed(raw, at=at) for raw in block.splitlines()) if line is not None]
    clean: list[LogLine] = []
    some: list[LogLine] = []
    size = 0
    for line in found:
        some.append(line)
        size += len(line.text)
        if size >= _TOGETHER:
            clean += _without_secrets(some, redactor)
            some, size = [], 0
    clean += _without_secrets(some, redactor)
    return [(line, line.encoded()) for line in clean]


def _without_secrets(lines: list[LogLine], redactor: Redactor) -> list[LogLine]:
    """Return lines without secrets. Nearly always there are none, and a search in all of them at once is cheap."""
    together = _BETWEEN.join([line.text for line in lines])
    if redactor.text(together) == together:
        return [replace(line, fields=redactor.json(line.fields)) if line.fields else line for line in lines]
    return [replace(line, text=redactor.text(line.text), fields=redactor.json(line.fields)) for line in lines]


def _reserve(
    tx: Transaction, task: Task, lines: list[tuple[LogLine, bytes]], *, most: TaskLog, stored_at: datetime | None
) -> tuple[TaskLog, list[bytes]]:
    """Return the log and the lines for which there is room, and add them to the size of the log.

    With ``stored_at``, the lines are stored in the catalog, too.
    """
    log = task_logs.lock(tx, task.fid, task.attempt)
    kept: list[bytes] = []
    total, count = log.bytes, log.lines
    for line, encoded in lines:
        share = 1.0 if line.is_at_least(LogLevel.ERROR) else 1 - _FOR_ERRORS
        if total + len(encoded) <= most.bytes * share and count + 1 <= most.lines * share:
            kept.append(encoded)
            total, count = total + len(encoded), count + 1
    dropped = log.dropped + len(lines) - len(kept)
    if kept and stored_at is not None:
        log_chunks.append(tx, task.fid, task.attempt, b"".join(kept), start=log.bytes, at=stored_at)
    task_logs.grow(tx, replace(log, bytes=total, lines=count, dropped=dropped))
    return log, kept
