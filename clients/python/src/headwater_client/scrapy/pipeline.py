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
from headwater_client.errors import DocumentRejected, HeadwaterError, NotJson, Problem, TaskGone, Unavailable
from headwater_client.leftovers import warn_left_open
from headwater_client.scrapy.options import Options
from headwater_client.scrapy.task import OpenTask, begun
from headwater_client.scrapy.values import document_of, statistics_of
from headwater_client.threads import in_thread

if TYPE_CHECKING:
    from typing import Self

    from scrapy import Spider
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)

#: Seconds for the last upload and report when the spider is interrupted.
SHUTDOWN_SECONDS = 10.0
#: Maximum number of reported upload errors, and of characters of a message.
ERRORS = 10
CHARACTERS = 1000

_OK, _FAILED = 200, 500
#: Statuses with which the server rejects a report.
_REPORT_REJECTED = {400, 413, 422}
#: First version of Scrapy that awaits ``open_spider``.
_AWAITS = (2, 14)


class HeadwaterPipeline:
    """Uploads items; see the package's docstring."""

    def __init__(self, crawler: Crawler) -> None:
        """Create the pipeline for a Scrapy crawler.

        Raises:
            NotConfigured: the settings name neither a crawler nor a task.
            ValueError: a setting is missing or invalid.
        """
        self._crawler = crawler
        self._stats: Any = crawler.stats
        self._options = Options.of(crawler.settings)
        self._task: OpenTask | None = None
        self._exceptions = 0
        self._failure: HeadwaterError | None = None
        self._log_handler: logging.Handler | None = None
        self._reports: asyncio.Future[None] | None = None
        self._closing: asyncio.Future[None] | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Create the pipeline, and connect it to Scrapy's signals."""
        pipeline = cls(crawler)
        crawler.signals.connect(pipeline.count_exception, signals.spider_error)
        crawler.signals.connect(pipeline.count_exception, signals.item_error)
        crawler.signals.connect(pipeline.spider_closed, signals.spider_closed)
        return pipeline

    def open_spider(self, spider: Spider | None = None) -> Awaitable[None]:  # noqa: ARG002 - older versions give it
        """Start the task; an error ends the crawl before it begins."""
        opening = self._open()
        return opening if scrapy.version_info >= _AWAITS else deferred_from_coro(opening)

    async def process_item(self, item: Any, spider: Spider | None = None) -> Any:  # noqa: ARG002 - as above
        """Write an item, waiting while the upload is behind (backpressure).

        Raises:
            DropItem: it cannot be written as JSON, or uploads have ended.
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
        """Count an exception of a spider callback or a pipeline."""
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
        except Exception as error:  # noqa: BLE001 - logged, with how to close the task
            warn_left_open(task.fid, error)
        finally:
            if self._log_handler is not None:
                logging.getLogger().removeHandler(self._log_handler)
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
            logger.error("The crawl does not begin: %s", error)  # noqa: TRY400 - Scrapy logs the traceback
            raise
        self._send_log(self._task)
        logger.info("Uploading to task %s", self._task.fid)
        if self._options.status_seconds > 0:
            self._reports = asyncio.ensure_future(self._report_on(self._task))

    def _send_log(self, task: OpenTask) -> None:
        """Send the spider's log to the task's."""
        if self._options.log_level is None:
            return
        handler = self._log_handler = task.log_handler(self._options.log_level)
        # Of several spiders in one process, each sends its own records, and those that belong to none.
        handler.addFilter(lambda record: getattr(record, "spider", None) in {None, self._crawler.spider})
        handler.addFilter(lambda record: not record.name.startswith(("httpx", "httpcore")))
        logging.getLogger().addHandler(handler)

    async def _begun(self) -> OpenTask:
        task = await begun(self._options)
        self._stats.set_value("headwater/task", task.fid)
        try:
            await task.goes_on("the spider has opened", self._detail(None))
        except BaseException as error:
            await _closed_unbegun(task, error)
            raise
        return task

    async def _report_on(self, task: OpenTask) -> None:
        while self._failure is None:
            await asyncio.sleep(self._options.status_seconds)
            try:
                await task.goes_on(self._progress_text(task), self._detail(None))
            except HeadwaterError as error:
                # A failed report does not end the crawl; a failed upload or a lost task does.
                if isinstance(error, TaskGone) or task.failure is not None:
                    self._give_up(error)
                else:
                    logger.warning("It cannot be reported how it goes: %s", error)
            except Exception:
                logger.exception("It cannot be reported how it goes")

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
        """Upload the remaining documents and close the task; with a short timeout if the spider was interrupted."""
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
            seconds = SHUTDOWN_SECONDS  # retries have already taken long enough
        if self._log_handler is not None:
            await in_thread(self._log_handler.flush, name="headwater-log")
        code = _OK if self._failure is None and reason in self._options.done_reasons else _FAILED
        message, detail = f"{reason}: {self._progress_text(task)}", self._detail(reason)
        if self._failure is not None:
            message = str(self._failure)[:CHARACTERS]
        if isinstance(self._failure, DocumentRejected):
            detail["errors"] = [*self._failure.errors[:ERRORS]]
        try:
            await asyncio.wait_for(task.close(code, message, detail), seconds)
        except Problem as problem:
            if problem.status not in _REPORT_REJECTED:
                raise
            logger.warning("The report of task %s is not taken, and sent without statistics: %s", task.fid, problem)
            await asyncio.wait_for(task.close(code, reason, None), seconds)
        self._stats.set_value("headwater/code", code)

    def _progress_text(self, task: OpenTask) -> str:
        self._stats.set_value("headwater/uploaded", task.uploaded)
        rejected = ""
        if task.rejected:
            self._stats.set_value("headwater/rejected", task.rejected)
            rejected = f", {task.rejected} rejected"
        exceptions = f", {_counted(self._exceptions, 'exception')}" if self._exceptions else ""
        return _counted(task.uploaded, "document") + rejected + exceptions

    def _detail(self, reason: str | None) -> dict[str, Any]:
        stats = statistics_of(self._stats.get_stats())
        return {"spider": self._crawler.spidercls.name, "reason": reason, "stats": stats}


async def _closed_unbegun(task: OpenTask, error: BaseException) -> None:
    """Close a task whose crawl does not begin, or log that it stays open."""
    try:
        if not isinstance(error, TaskGone):
            report = task.close(_FAILED, f"the crawl did not begin: {error}"[:CHARACTERS], None)
            await asyncio.wait_for(report, SHUTDOWN_SECONDS)
    except Exception as failure:  # noqa: BLE001 - the error that ends the crawl is raised
        warn_left_open(task.fid, failure)
    finally:
        task.leave()


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _not_taken() -> DropItem:
    """Return the exception that drops items while the spider closes; the reason was already logged."""
    dropped = DropItem("nothing more is uploaded")
    dropped.log_level = "DEBUG"
    return dropped


def _reason(error: HeadwaterError) -> str:
    """Return the close reason of the spider."""
    for kind, reason in ((TaskGone, "headwater_task_gone"), (DocumentRejected, "headwater_rejected")):
        if isinstance(error, kind):
            return reason
    return "headwater_failed"


def _log(error: HeadwaterError) -> None:
    """Log why uploads have ended."""
    if isinstance(error, TaskGone):
        logger.warning("%s", error)
    elif isinstance(error, DocumentRejected):
        way = "HEADWATER_LENIENT = True keeps such documents aside and goes on"
        logger.error("Headwater refused an upload for this document: %.1000s\n%s\n%s", error.document, error, way)
    else:
        logger.error("Headwater takes no more: %s", error)
