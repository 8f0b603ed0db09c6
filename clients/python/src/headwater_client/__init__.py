"""Write crawlers for Headwater, and use its API.

``TaskWriter`` uploads the documents of a task, ``Headwater`` is the whole API; both have a twin to be awaited.
``headwater_client.server`` runs tasks that Headwater sends, ``headwater_client.scrapy`` is for Scrapy,
``headwater_client.errors`` has all that can go wrong by name.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater_client.awaited_writer import AsyncTaskWriter
    from headwater_client.errors import (
        DocumentRejected,
        HeadwaterError,
        NotJson,
        Problem,
        TaskAlreadyRunning,
        TaskGone,
        Unavailable,
        WriterClosed,
    )
    from headwater_client.headwater import AsyncHeadwater, Headwater
    from headwater_client.writer import TaskWriter

__all__ = [
    "AsyncHeadwater",
    "AsyncTaskWriter",
    "DocumentRejected",
    "Headwater",
    "HeadwaterError",
    "NotJson",
    "Problem",
    "TaskAlreadyRunning",
    "TaskGone",
    "TaskWriter",
    "Unavailable",
    "WriterClosed",
]

_ELSEWHERE = {
    "AsyncHeadwater": "headwater",
    "AsyncTaskWriter": "awaited_writer",
    "Headwater": "headwater",
    "TaskWriter": "writer",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: the command line, within this package, need not wait for HTTP."""
    if name == "errors":
        return import_module("headwater_client.errors")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"headwater_client.{_ELSEWHERE.get(name, 'errors')}"), name)
    globals()[name] = found
    return found
