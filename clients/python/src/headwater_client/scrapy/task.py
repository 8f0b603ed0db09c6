"""The Headwater task of a spider's run."""

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
    """An open task and its writer."""

    def __init__(self, endpoint: str, token: str | None, writing: Mapping[str, Any]) -> None:
        self._new_writer = functools.partial(TaskWriter, endpoint, token, **writing)
        self._writer = self._new_writer(on_rejected=_log_rejected)
        # Of many waiting items, only one occupies a thread.
        self._turn = asyncio.Lock()

    @property
    def fid(self) -> str:
        """The task's fid."""
        return self._writer.fid

    @property
    def uploaded(self) -> int:
        """Number of documents on Headwater's disk."""
        return self._writer.taken

    @property
    def rejected(self) -> int:
        """Number of documents that Headwater has rejected (lenient uploads)."""
        return self._writer.rejected

    @property
    def failure(self) -> BaseException | None:
        """The error that has ended uploads, if any."""
        return self._writer.failure

    def log_handler(self, level: str) -> logging.Handler:
        """Return a handler that sends records to the task's log."""
        return self._writer.log_handler(level)

    async def write_line(self, line: bytes) -> None:
        """Write a line of JSON, waiting while the upload is behind (backpressure)."""
        async with self._turn:
            while not self._writer.offer_line(line):
                await _in_own_thread(self._writer.wait_for_room)

    async def flush(self) -> None:
        """Wait until all written documents are on Headwater's disk."""
        await _in_own_thread(self._writer.flush)

    async def goes_on(self, message: str, detail: Any) -> None:
        """Report that the task is running."""
        await _in_own_thread(functools.partial(self._writer.status, _CONTINUES, message, detail))

    async def close(self, code: int, message: str, detail: Any) -> None:
        """Report the final status."""
        # By a new writer: after a rejected upload, the other one raises that error on every call.
        writer = self._new_writer()
        try:
            await _in_own_thread(functools.partial(writer.status, code, message, detail))
        finally:
            writer.abandon()

    def leave(self) -> None:
        """End uploads."""
        self._writer.abandon()


def _log_rejected(error: Mapping[str, Any]) -> None:
    """Log the error of a rejected document; called by the uploading thread."""
    where = " ".join(str(error[name]) for name in ("doc_id", "pointer") if error.get(name))
    logger.warning("Headwater kept an item aside: %s: %s", where or "no id", error.get("detail"))


def _in_own_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    # Not in an executor, whose threads would delay the exit after a second interrupt.
    return in_thread(work, name="headwater")


async def begun(options: Options) -> OpenTask:
    """Return a new task of the crawler, or the already started one."""
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
