"""The item pipeline."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import scrapy
from scrapy import signals
from scrapy.exceptions import DropItem
from scrapy.utils.defer import deferred_from_coro, maybe_deferred_to_future

from headwater_client.encoding import line_of
from headwater_client.errors import DocumentRejected, HeadwaterError, NotJson, TaskGone, Unavailable
from headwater_client.scrapy.options import Options
from headwater_client.scrapy.task import OpenTask, begun
from headwater_client.scrapy.values import document_of, statistics_of

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: Seconds that somebody who interrupts the spider waits for the last words.
SHUTDOWN_SECONDS = 10.0
#: How many of the errors of an upload are reported, and how many characters of their text.
ERRORS = 10
CHARACTERS = 1000

_OK, _FAILED = 200, 500
#: From this version on, Scrapy awaits what a pipeline opens.
_AWAITS = (2, 14)


class HeadwaterPipeline:
    """Uploads the items that come to it; see the top of this module."""

    def __init__(self, crawler: Crawler) -> None:
        """Belong to a crawler of Scrapy's.

        Raises:
            NotConfigured: the settings name no crawler and no task.
            ValueError: a setting is missing, or is none.
        """
        self._crawler = crawler
        self._stats: Any = crawler.stats
        self._options = Options.of(crawler.settings)
        self._task: OpenTask | None = None
        self._exceptions = 0
        self._failure: HeadwaterError | None = None
        self._reports: asyncio.Future[None] | None = None
        self._closing: asyncio.Future[None] | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Return one that hears of exceptions and of the end."""
        pipeline = cls(crawler)
        crawler.signals.connect(pipeline.count_exception, signals.spider_error)
        crawler.signals.connect(pipeline.count_exception, signals.item_error)
        crawler.signals.connect(pipeline.spider_closed, signals.spider_closed)
        return pipeline

    def open_spider(self, spider: Spider | None = None) -> Awaitable[None]:  # noqa: ARG002 - older versions give it
        """Open the task; what goes wrong with it ends the crawl before it begins."""
        opening = self._open()
        return opening if scrapy.version_info >= _AWAITS else deferred_from_coro(opening)

    async def process_item(self, item: Any, spider: Spider | None = None) -> Any:  # noqa: ARG002 - as above
        """Hand an item to the upload, and wait while that is behind.

        Raises:
            DropItem: it cannot be JSON, or nothing more is uploaded.
        """
        try:
            line = line_of(document_of(item))
        except (NotJson, TypeError) as error:
            self._stats.inc_value("headwater/not_json")
            raise DropItem(f"it cannot be JSON: {error}") from error
        if self._task is None or self._failure is not None:
            raise _not_taken()
        try:
            await self._task.write_line(line)
        except HeadwaterError as error:
            self._give_up(error)
            raise _not_taken() from error
        return item

    def count_exception(self) -> None:
        """Count what a callback of the spider or a pipeline has raised."""
        self._exceptions += 1

    async def spider_closed(self, reason: str) -> None:
        """Close the task, unless it is gone."""
        task, self._task = self._task, None
        if task is None:
            return
        if self._reports is not None:
            self._reports.cancel()
        try:
            await self._close(task, reason)
        except (HeadwaterError, asyncio.TimeoutError) as error:
            said = str(error) or "Headwater does not answer in time"
            logger.error("Task %s stays open until its time is out: %s", task.fid, said)  # noqa: TRY400 - it says all
        finally:
            task.leave()

    async def _open(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            reactor = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"
            raise ValueError(f"Headwater's pipeline needs asyncio: set TWISTED_REACTOR = {reactor!r}") from None
        try:
            self._task = await self._begun()
        except HeadwaterError as error:
            logger.error("The crawl does not begin: %s", error)  # noqa: TRY400 - Scrapy shows where
            raise
        logger.info("Uploading to task %s", self._task.fid)
        if self._options.status_seconds > 0:
            self._reports = asyncio.ensure_future(self._report_on(self._task))

    async def _begun(self) -> OpenTask:
        task = await begun(self._options)
        self._stats.set_value("headwater/task", task.fid)
        try:
            await task.goes_on("the spider has opened", self._detail(None))
        except HeadwaterError:
            task.leave()
            raise
        return task

    async def _report_on(self, task: OpenTask) -> None:
        while self._failure is None:
            await asyncio.sleep(self._options.status_seconds)
            try:
                await task.goes_on(self._told(task), self._detail(None))
            except HeadwaterError as error:
                self._give_up(error)

    def _give_up(self, error: HeadwaterError) -> None:
        if self._failure is not None:
            return
        self._failure = error
        _log(error)
        self._closing = asyncio.ensure_future(self._close_spider(_reason(error)))

    async def _close_spider(self, reason: str) -> None:
        engine: Any = self._crawler.engine
        if hasattr(engine, "close_spider_async"):
            await engine.close_spider_async(reason=reason)
        else:
            await maybe_deferred_to_future(engine.close_spider(self._crawler.spider, reason))

    async def _close(self, task: OpenTask, reason: str) -> None:
        """Upload the rest and close the task; if somebody waits at the keyboard, within a short time."""
        seconds = SHUTDOWN_SECONDS if reason == "shutdown" else None
        if self._failure is None:
            try:
                await asyncio.wait_for(task.flush(), seconds)
            except HeadwaterError as error:
                self._failure = error
                _log(error)
        if isinstance(self._failure, TaskGone):
            return
        if isinstance(self._failure, Unavailable):
            seconds = SHUTDOWN_SECONDS  # it was waited for long enough
        code = _OK if self._failure is None and reason in self._options.done_reasons else _FAILED
        message, detail = f"{reason}: {self._told(task)}", self._detail(reason)
        if self._failure is not None:
            message = str(self._failure)[:CHARACTERS]
        if isinstance(self._failure, DocumentRejected):
            detail["errors"] = [*self._failure.errors[:ERRORS]]
        await asyncio.wait_for(task.close(code, message, detail), seconds)
        self._stats.set_value("headwater/code", code)

    def _told(self, task: OpenTask) -> str:
        self._stats.set_value("headwater/uploaded", task.uploaded)
        exceptions = f", {_counted(self._exceptions, 'exception')}" if self._exceptions else ""
        return _counted(task.uploaded, "document") + exceptions

    def _detail(self, reason: str | None) -> dict[str, Any]:
        stats = statistics_of(self._stats.get_stats())
        return {"spider": self._crawler.spidercls.name, "reason": reason, "stats": stats}


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _not_taken() -> DropItem:
    """Return what is said to each item that comes while the spider closes; the reason was logged once."""
    dropped = DropItem("nothing more is uploaded")
    dropped.log_level = "DEBUG"
    return dropped


def _reason(error: HeadwaterError) -> str:
    """Return what the spider's end is called."""
    for kind, reason in ((TaskGone, "headwater_task_gone"), (DocumentRejected, "headwater_rejected")):
        if isinstance(error, kind):
            return reason
    return "headwater_failed"


def _log(error: HeadwaterError) -> None:
    """Tell why nothing more is uploaded."""
    if isinstance(error, TaskGone):
        logger.warning("%s", error)
    elif isinstance(error, DocumentRejected):
        logger.error("Headwater refused an upload for this document: %.1000s\n%s", error.document, error)
    else:
        logger.error("Headwater takes no more: %s", error)
