"""Reads the logs of tasks: pages, the last lines, and lines as they come."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime

from headwater.catalog import objects, task_logs
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import TASKS
from headwater.catalog.task_logs import TaskLog
from headwater.domain.log_line import LogLevel, LogLine, stored
from headwater.domain.task import Task
from headwater.lake.log_file import LogFile
from headwater.lake.store import Store
from headwater.streams.chunked_log import ChunkedLog
from headwater.streams.topic_waiter import TopicWaiter

#: Bytes of lines that are looked at for a page, or in one step of following.
MOST_READ = 1 << 20


@dataclass(frozen=True, kw_only=True)
class LogFilter:
    """Which lines are wanted; all given fields must match."""

    level: LogLevel = LogLevel.DEBUG
    #: What the text contains, in any case.
    q: str | None = None

    def takes(self, line: LogLine) -> bool:
        """Return whether a line matches."""
        return line.is_at_least(self.level) and (self.q is None or self.q.lower() in line.text.lower())


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """Lines of a log."""

    #: Each with the byte position behind it.
    lines: list[tuple[int, LogLine]]
    #: The byte position behind the last line that was looked at.
    place: int
    #: Whether nothing follows, for now.
    is_all: bool


class TaskLogReader:
    """Reads logs from the lake, a bounded number of bytes at a time."""

    def __init__(self, db: Database, store: Store) -> None:
        """Read files of the ``store``; if it is remote, the catalog knows where the lines are."""
        self._db = db
        self._store = store
        self._grown = TopicWaiter(db, task_logs.LOGGED)

    def close(self) -> None:
        """End all waits, so that the server can stop."""
        self._grown.close()

    @property
    def is_closed(self) -> bool:
        """Whether the server stops."""
        return self._grown.is_closed

    async def find(self, fid: str, attempt: int | None) -> tuple[Task, TaskLog]:
        """Return a task, and the log of its current attempt or another one.

        Raises:
            NotFound: there is no such task.
        """

        def read(tx: Transaction) -> tuple[Task, TaskLog]:
            task = objects.get(tx, TASKS, fid)
            return task, task_logs.find(tx, fid, attempt or task.attempt)

        return await self._db.read(read)

    async def page(self, log: TaskLog, place: int, wanted: LogFilter, *, limit: int, at: datetime) -> LogPage:
        """Return lines from a position on; a page may end early, after MOST_READ bytes."""
        return await asyncio.to_thread(_page, self._file(log), place, wanted, limit, at)

    async def tail(self, log: TaskLog, count: int) -> int:
        """Return the position of the last lines."""
        return await asyncio.to_thread(self._file(log).tail, count)

    async def follow(
        self, log: TaskLog, place: int, wanted: LogFilter, *, at: datetime, seconds: float
    ) -> AsyncGenerator[LogPage]:
        """Yield pages as lines arrive, and an empty one after so many seconds of silence, until the attempt is over."""
        file = self._file(log)
        while not self.is_closed:
            # Asked before the file is read: what was logged before the end is in it.
            is_over = await self._db.read(_is_over, log)
            page = await asyncio.to_thread(_page, file, place, wanted, MOST_READ, at)
            if page.lines or not page.is_all:
                yield page
            elif is_over:
                return
            else:
                is_more = await self._wait(file, page.place, log, seconds)
                if not is_more:
                    yield page
            place = page.place

    async def _wait(self, file: LogFile | ChunkedLog, place: int, log: TaskLog, seconds: float) -> bool:
        async def is_more() -> bool:
            return await asyncio.to_thread(file.size) > place or await self._db.read(_is_over, log)

        return await self._grown.wait_for(is_more, seconds=seconds)

    def _file(self, log: TaskLog) -> LogFile | ChunkedLog:
        if self._store.is_remote:
            return ChunkedLog(self._db, self._store, log)
        return LogFile(self._store.root / log.path)


def _page(file: LogFile | ChunkedLog, start: int, wanted: LogFilter, limit: int, at: datetime) -> LogPage:
    found: list[tuple[int, LogLine]] = []
    place = start
    for behind, raw in file.lines(start):
        line = stored(raw, otherwise=at)
        place = behind
        if wanted.takes(line):
            found.append((behind, line))
        if len(found) == limit or place - start >= MOST_READ:
            return LogPage(lines=found, place=place, is_all=False)
    return LogPage(lines=found, place=place, is_all=True)


def _is_over(tx: Transaction, log: TaskLog) -> bool:
    task = objects.find(tx, TASKS, log.task)
    return task is None or task.attempt != log.attempt or not task.is_open
