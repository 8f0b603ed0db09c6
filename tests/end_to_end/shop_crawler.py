"""An external crawler as its author runs it: ``python shop_crawler.py PORT HEADWATER KEY [OPTIONS]``."""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Literal

from headwater_client import Headwater, TaskGone
from headwater_client.server import AsyncCrawlTask, CrawlTask, ExternalCrawler

#: Each page is a document: a slow shop takes a while for one, a late one before the first.
Pace = Literal["quick", "slow", "late", "broken"]


@dataclass
class Shop:
    """What to crawl."""

    shop: str
    pace: Pace = "quick"
    pages: int = 3


def say(event: str, task: CrawlTask[Shop] | AsyncCrawlTask[Shop]) -> None:
    """Tell the test what happens."""
    sys.stdout.write(f"{event} {task.fid}\n")
    sys.stdout.flush()


async def crawl(task: AsyncCrawlTask[Shop]) -> None:
    """Crawl a shop, awaiting."""
    say("begun", task)
    try:
        if task.params.pace == "late":
            await asyncio.sleep(3)
        for page in range(task.params.pages):
            await task.write({"id": f"{task.params.shop}-{page}"})
            if task.params.pace == "slow":
                await task.writer.flush()
                await asyncio.sleep(0.2)
        if task.params.pace == "broken":
            raise RuntimeError("the shop is closed")
    except (asyncio.CancelledError, TaskGone):  # an upload that is under way may be told first
        say("cancelled", task)
        raise


def crawl_blocking(task: CrawlTask[Shop]) -> None:
    """Crawl a shop, blocking."""
    say("begun", task)
    try:
        for page in range(task.params.pages):
            task.write({"id": f"{task.params.shop}-{page}"})
            if task.params.pace == "slow":
                time.sleep(0.2)
    except TaskGone:
        say("gone", task)
        raise


def main() -> None:
    """Serve, and register."""
    _, port, headwater, key, *options = sys.argv
    asked = json.loads(options[0]) if options else {}
    function = crawl_blocking if asked.pop("blocking", False) else crawl
    crawler = ExternalCrawler("Shops", params=Shop, doc_id_field="id", writer={"max_seconds": 0.2}, **asked)
    crawler.task(function)
    crawler.run(port=int(port), register=Headwater(headwater, key))


if __name__ == "__main__":
    main()
