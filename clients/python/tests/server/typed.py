"""What a type checker must see of a crawler's server: ``pyright -p clients/python`` reads this file, nobody runs it."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, assert_type

from headwater_client import AsyncHeadwater, AsyncTaskWriter, Headwater, TaskWriter
from headwater_client.models.objects import External
from headwater_client.server import AsyncCrawlTask, CrawlTask, ExternalCrawler


@dataclass
class Shop:
    """Params."""

    shop: str


crawler = ExternalCrawler("Book prices", params=Shop, concurrency=2, doc_id_field="isbn")
assert_type(crawler, ExternalCrawler[Shop])
assert_type(ExternalCrawler("Anything"), ExternalCrawler[dict[str, Any]])


@crawler.task
async def crawl(task: AsyncCrawlTask[Shop]) -> None:
    """Crawl, awaiting."""
    assert_type(task.params, Shop)
    assert_type(task.writer, AsyncTaskWriter)
    await task.write({"isbn": task.params.shop})


@crawler.task
def crawl_blocking(task: CrawlTask[Shop]) -> None:
    """Crawl, blocking."""
    assert_type(task.params.shop, str)
    assert_type(task.writer, TaskWriter)
    task.write({"isbn": task.params.shop})


@crawler.task  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator] - it must await
async def mistaken(task: CrawlTask[Shop]) -> None:
    """Take the other kind's task."""


def register(headwater: Headwater, awaiting: AsyncHeadwater) -> None:
    """Answer, or return what is to be awaited."""
    assert_type(crawler.register(headwater, "http://ec:9000"), External)
    assert_type(crawler.register(awaiting, endpoint="http://ec:9000"), Awaitable[External])


ExternalCrawler("Book prices", concurency=2)  # pyright: ignore[reportCallIssue] - a mistyped name is found
