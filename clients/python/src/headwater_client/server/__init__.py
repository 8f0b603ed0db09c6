"""Crawlers that Headwater starts: ``pip install headwater-client[server]``.

``ExternalCrawler`` is the server around a function. The function is given an ``AsyncCrawlTask``, or a ``CrawlTask`` if
it is no coroutine function. ``Parameter``, ``Password`` and ``Location`` say of a parameter what its type does not.
"""

try:
    import starlette as _starlette
except ImportError as error:
    raise ImportError("headwater_client.server needs starlette: pip install headwater-client[server]") from error

from headwater_client.server.crawler import ExternalCrawler
from headwater_client.server.hints import NoParameter
from headwater_client.server.parameters import Location, Parameter, Password
from headwater_client.server.registration import NameTaken
from headwater_client.server.tasks import AsyncCrawlTask, CrawlTask

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
