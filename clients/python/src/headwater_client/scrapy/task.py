"""The task of a spider's run."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from headwater_client.errors import HeadwaterError, TaskAlreadyRunning, TaskClosed
from headwater_client.headwater import AsyncHeadwater
from headwater_client.scrapy.options import Options
from headwater_client.writer import TaskWriter

T = TypeVar("T")

logger = logging.getLogger(__name__)

_FID = re.compile(r"[0-9a-f]{32}")
_CONTINUES = 102


class OpenTask:
    """A task, and what writes to it."""

    def __init__(self, endpoint: str, token: str | None, writing: Mapping[str, Any]) -> None:
        self._new_writer = functools.partial(TaskWriter, endpoint, token, **writing)
        self._writer = self._new_writer()
        # Of many items that wait for room, one does so, and the others for it.
        self._turn = asyncio.Lock()

    @property
    def fid(self) -> str:
        """The task's."""
        return self._writer.fid

    @property
    def uploaded(self) -> int:
        """Documents that are on Headwater's disk."""
        return self._writer.taken

    async def write_line(self, line: bytes) -> None:
        """Take a line of JSON, and wait while the upload is behind."""
        async with self._turn:
            while not self._writer.offer_line(line):
                await _beside(self._writer.wait_for_room)

    async def flush(self) -> None:
        """Wait until all that was taken is on Headwater's disk."""
        await _beside(self._writer.flush)

    async def goes_on(self, message: str, detail: Any) -> None:
        """Report how it goes."""
        await _beside(functools.partial(self._writer.status, _CONTINUES, message, detail))

    async def close(self, code: int, message: str, detail: Any) -> None:
        """Report that it has ended, and how."""
        # Not by the writer that took the documents: if an upload was refused, it says that to whatever it is asked.
        writer = self._new_writer()
        try:
            await _beside(functools.partial(writer.status, code, message, detail))
        finally:
            writer.abandon()

    def leave(self) -> None:
        """Upload nothing more."""
        self._writer.abandon()


async def _beside(work: Callable[[], T]) -> T:
    """Do what may take long in a thread, so that the spider goes on.

    It is a daemon: who interrupts a spider for the second time wants it to end at once, whatever it waits for.
    """
    done: Future[T] = Future()

    def run() -> None:
        done.set_running_or_notify_cancel()  # it cannot be cancelled any more
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whatever it is, who waits shall learn of it
            done.set_exception(error)

    threading.Thread(target=run, name="headwater", daemon=True).start()
    return await asyncio.wrap_future(done)


async def begun(options: Options) -> OpenTask:
    """Return a new task of the crawler, or the one that somebody else began."""
    if options.endpoint is not None:
        return OpenTask(options.endpoint, None, options.writing)
    async with AsyncHeadwater(options.url or "", options.key or "") as hw:
        crawler = await _fid_of(hw, options.crawler or "")
        task = await hw.tasks.create(crawler, options.params)
        if task.already_running and options.on_open_task == "stop":
            logger.warning("Task %s of the crawler was open; it is stopped", task.fid)
            with contextlib.suppress(TaskClosed):  # it has ended by itself
                await hw.tasks.stop(task)
            task = await hw.tasks.create(crawler, options.params)
    if task.already_running:
        raise TaskAlreadyRunning(task)
    if task.upload is None:
        raise HeadwaterError(f"task {task.fid} is begun, but by the server at its External's endpoint")
    return OpenTask(task.upload.endpoint, task.upload.token, options.writing)


async def _fid_of(hw: AsyncHeadwater, crawler: str) -> str:
    if _FID.fullmatch(crawler):
        return crawler
    found = [each.fid async for each in hw.crawlers.list(name=crawler)]
    if not found:
        raise HeadwaterError(f"there is no crawler that is called {crawler!r}")
    if len(found) > 1:
        raise HeadwaterError(f"{len(found)} crawlers are called {crawler!r}; name one by its fid: {', '.join(found)}")
    return found[0]
