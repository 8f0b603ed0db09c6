"""One attempt of a task on this server: runs the crawl function and closes the task."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from headwater_client.async_writer import AsyncTaskWriter
from headwater_client.errors import HeadwaterError, TaskGone, WriterClosed
from headwater_client.server.reports import SHORT, Reporter
from headwater_client.server.run_log import logged_to
from headwater_client.server.start_request import StartRequest
from headwater_client.server.tasks import AsyncCrawlTask, CrawlTask
from headwater_client.threads import in_thread
from headwater_client.writer import TaskWriter

P = TypeVar("P")

log = logging.getLogger("headwater_client.server")

#: Seconds to wait for a function that was interrupted.
STOPPING = 1.0
#: Message of a task that fails because of a shutdown.
SHUT_DOWN = "the crawler was shut down"

#: State of a run that is not queued.
BEGUN = "begun"

_CONTINUES = 102
_FAILED = 500


@dataclass(frozen=True)
class Tools:
    """Shared by all runs of a server."""

    #: Options of a ``TaskWriter``.
    options: Mapping[str, Any]
    reporter: Reporter


class Run(Generic[P]):
    """An attempt of a task, queued or running."""

    def __init__(self, order: StartRequest[P], tools: Tools) -> None:
        """Create a queued run for a start request."""
        self.order = order
        #: Set when the task is over.
        self.over = threading.Event()
        self._tools = tools
        self._is_left = False
        self._work: asyncio.Task[None] | None = None

    def begin(self, *, has_waited: bool) -> asyncio.Task[None]:
        """Start the function, and return its asyncio task; errors of the function are reported, not raised."""
        self._work = asyncio.get_running_loop().create_task(self._begun(has_waited=has_waited))
        return self._work

    def drop(self) -> None:
        """End without reporting a status: Headwater has ended the task."""
        self.over.set()
        self._abandon()
        self._interrupt()

    async def leave(self) -> None:
        """End because of a shutdown: upload the written documents, and report the failure."""
        self._is_left = True
        self.over.set()
        self._interrupt()
        if self._work is not None:
            await asyncio.wait({self._work}, timeout=STOPPING)
        try:
            await asyncio.wait_for(self._flush(), SHORT)
        except (WriterClosed, TaskGone):
            return  # closed in the meantime, by the function or by Headwater
        except (TimeoutError, HeadwaterError) as error:
            log.warning("task %s: not all that was written is uploaded: %r", self.order.fid, error)
        finally:
            self._abandon()
        try:
            if await self._tools.reporter.report(self.order, _FAILED, SHUT_DOWN) is not None:
                log.warning("task %s failed: %s", self.order.fid, SHUT_DOWN)
        except TaskGone:
            log.info("task %s was over already", self.order.fid)

    async def _begun(self, *, has_waited: bool) -> None:
        if has_waited:
            # Replace the message "waits for …"; the task may also be gone by now.
            try:
                await self._tools.reporter.report(self.order, _CONTINUES, BEGUN)
            except TaskGone:
                self.over.set()
        if not self.over.is_set():
            await self._working()

    async def _working(self) -> None:
        raise NotImplementedError

    async def _flush(self) -> None:
        raise NotImplementedError

    def _abandon(self) -> None:
        raise NotImplementedError

    def _interrupt(self) -> None:
        raise NotImplementedError

    def _is_failure(self, error: BaseException) -> bool:
        """Return whether the error is to be reported, and log how the function ended."""
        if self.over.is_set() or isinstance(error, TaskGone):
            log.info("task %s is over, and its run with it", self.order.fid)
            return False
        log.error("task %s failed", self.order.fid, exc_info=error)
        return True


class AwaitedRun(Run[P]):
    """A run of a coroutine function."""

    def __init__(
        self, order: StartRequest[P], tools: Tools, function: Callable[[AsyncCrawlTask[P]], Awaitable[object]]
    ) -> None:
        """Run ``function``."""
        super().__init__(order, tools)
        self._function = function
        self._writer: AsyncTaskWriter | None = None

    async def _working(self) -> None:
        writer = self._writer = AsyncTaskWriter(self.order.endpoint, self.order.token, **self._tools.options)
        try:
            with logged_to(writer.log_handler()):
                await self._function(AsyncCrawlTask(self.order, self.over, writer))
            if not self.over.is_set():
                await writer.close()
                log.info("task %s has ended, with %d documents", self.order.fid, writer.written)
        except BaseException as error:
            if self._is_failure(error):
                await writer.fail(error)
            if isinstance(error, KeyboardInterrupt):
                raise
        finally:
            if not self._is_left:
                writer.abandon()

    async def _flush(self) -> None:
        if self._writer is not None:
            await self._writer.flush()

    def _abandon(self) -> None:
        if self._writer is not None:
            self._writer.abandon(TaskGone(f"nothing more is wanted for task {self.order.fid}"))

    def _interrupt(self) -> None:
        if self._work is not None:
            self._work.cancel()


class ThreadRun(Run[P]):
    """A run of a non-async function, in a thread of its own."""

    def __init__(self, order: StartRequest[P], tools: Tools, function: Callable[[CrawlTask[P]], object]) -> None:
        """Run ``function``."""
        super().__init__(order, tools)
        self._function = function
        self._writer: TaskWriter | None = None

    async def _working(self) -> None:
        await in_thread(self._working_there, name=f"task-{self.order.fid}")

    def _working_there(self) -> None:
        writer = self._writer = TaskWriter(self.order.endpoint, self.order.token, **self._tools.options)
        try:
            with logged_to(writer.log_handler()):
                self._function(CrawlTask(self.order, self.over, writer))
            if not self.over.is_set():
                writer.close()
                log.info("task %s has ended, with %d documents", self.order.fid, writer.written)
        except BaseException as error:  # noqa: BLE001 - reported
            if self._is_failure(error):
                writer.fail(error)
        finally:
            if not self._is_left:
                writer.abandon()

    async def _flush(self) -> None:
        if self._writer is not None:
            await in_thread(self._writer.flush, name=f"task-{self.order.fid}-flush")

    def _abandon(self) -> None:
        if self._writer is not None:
            self._writer.abandon(TaskGone(f"nothing more is wanted for task {self.order.fid}"))

    def _interrupt(self) -> None:
        """Do nothing: threads cannot be interrupted; the function's next write raises ``TaskGone``."""
