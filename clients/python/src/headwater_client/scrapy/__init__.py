"""Scrapy's items in Headwater: an item pipeline that is switched on by settings.

::

    ITEM_PIPELINES = {"headwater_client.scrapy.HeadwaterPipeline": 800}
    HEADWATER_CRAWLER = "Nightly"

It opens a task when the spider opens, uploads items in batches, and closes the task with the spider: as done if the
spider came to its end, as failed if it did not. Scrapy must run on asyncio, as it does by itself from 2.13 on.
"""

from headwater_client.scrapy.pipeline import HeadwaterPipeline

__all__ = ["HeadwaterPipeline"]
