"""Server for crawlers that Headwater starts: the extra ``server``.

``ExternalCrawler`` serves a crawl function as an ASGI application. The function receives an ``AsyncCrawlTask``, or a
``CrawlTask`` if it is not a coroutine function. ``Parameter``, ``Password`` and ``Location`` annotate parameters.
"""

try:
    import starlette as _starlette
except ImportError as error:
    raise ImportError(
        "headwater_client.server needs starlette: install headwater-client with its extra 'server'"
    ) from error

from headwater_client.server.crawler import ExternalCrawler
from headwater_client.server.parameters import Location, Parameter, Password
from headwater_client.server.registration import NameTaken
from headwater_client.server.tasks import AsyncCrawlTask, CrawlTask
from headwater_client.server.type_hints import NoParameter

__all__ = [
    "AsyncCrawlTask",
    "CrawlTask",
    "ExternalCrawler",
    "Location",
    "NameTaken",
    "NoParameter",
    "Parameter",
    "Password",
]

del _starlette
