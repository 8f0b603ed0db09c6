"""Item pipeline for Scrapy that uploads items to Headwater, configured by settings.

::

    ITEM_PIPELINES = {"headwater_client.scrapy.HeadwaterPipeline": 800}
    HEADWATER_CRAWLER = "Nightly"

It starts a task when the spider opens, uploads items in batches, and closes the task when the spider closes: as done if
the spider finished, as failed otherwise. Scrapy must run on asyncio, which is the default since 2.13.
"""

from headwater_client.scrapy.pipeline import HeadwaterPipeline

__all__ = ["HeadwaterPipeline"]
