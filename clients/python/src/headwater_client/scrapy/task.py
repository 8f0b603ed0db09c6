"""The task of a spider's run."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from headwater_client.errors import HeadwaterError, TaskClosed
from headwater_client.headwater import AsyncHeadwater, target_of
from headwater_client.scrapy.options import Options
from headwater_client.threads import in_thread
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


def _beside(work: Callable[[], T]) -> asyncio.Future[T]:
    # Of its own, so that the spider goes on, and who interrupts it for the second time sees it end at once.
    return in_thread(work, name="headwater")


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
    target = target_of(task)
    return OpenTask(target.endpoint, target.token, options.writing)


async def _fid_of(hw: AsyncHeadwater, crawler: str) -> str:
    if _FID.fullmatch(crawler):
        return crawler
    found = [each.fid async for each in hw.crawlers.list(name=crawler)]
    if not found:
        raise HeadwaterError(f"there is no crawler that is called {crawler!r}")
    if len(found) > 1:
        raise HeadwaterError(f"{len(found)} crawlers are called {crawler!r}; name one by its fid: {', '.join(found)}")
    return found[0]
