"""Client library for Headwater.

``TaskWriter`` uploads a task's documents; ``Headwater`` is the client for the whole API. Both have async versions.
``headwater_client.server`` serves crawlers that Headwater starts, ``headwater_client.scrapy`` is an item pipeline for
Scrapy, and ``headwater_client.errors`` has the exceptions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater_client.async_writer import AsyncTaskWriter
    from headwater_client.errors import (
        DocumentRejected,
        HeadwaterError,
        NotJson,
        Problem,
        TaskAlreadyRunning,
        TaskGone,
        Unavailable,
        Unsendable,
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
    "Unsendable",
    "WriterClosed",
]

_MODULES = {
    "AsyncHeadwater": "headwater",
    "AsyncTaskWriter": "async_writer",
    "Headwater": "headwater",
    "TaskWriter": "writer",
}


def __getattr__(name: str) -> Any:
    """Import a name lazily, on first access: the command line should not wait for httpx to load."""
    if name == "errors":
        return import_module("headwater_client.errors")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"headwater_client.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = found
    return found
