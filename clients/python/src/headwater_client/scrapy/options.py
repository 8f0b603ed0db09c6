"""The pipeline's options, read from the settings of a Scrapy project."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scrapy.exceptions import NotConfigured

from headwater_client.writer import MAX_BYTES, MAX_SECONDS, RETRY_FOR

if TYPE_CHECKING:
    from typing import Self

    from scrapy.settings import BaseSettings

#: Seconds between status reports.
STATUS_SECONDS = 60.0
#: Level from which on the spider's log is sent.
LOG_LEVEL = "INFO"
#: Close reasons of a successful spider: it finished, or reached its limit of pages or items.
DONE_REASONS = ["finished", "closespider_itemcount", "closespider_pagecount"]


@dataclass(frozen=True)
class Options:
    """Options from the settings."""

    url: str | None
    key: str | None
    #: Fid or name of the crawler whose task this is.
    crawler: str | None
    #: Endpoint of an already started task; the three options above are then ignored.
    endpoint: str | None
    #: Params that override the crawler's.
    params: Mapping[str, Any]
    #: What to do if the crawler has an open task: ``fail``, or ``stop`` that task.
    on_open_task: str
    #: Seconds between status reports; 0 is never.
    status_seconds: float
    #: Close reasons of a successful spider.
    done_reasons: frozenset[str]
    #: Level from which on the spider's log is sent to the task's; None sends nothing.
    log_level: str | None
    #: Options of the writer.
    writing: Mapping[str, float | bool]

    @classmethod
    def of(cls, settings: BaseSettings) -> Self:
        """Read the settings, some of them also from the environment.

        Raises:
            NotConfigured: they name neither a crawler nor a task.
            ValueError: a setting is missing or invalid.
        """
        options = cls(
            url=_text(settings, "HEADWATER_URL"),
            key=_text(settings, "HEADWATER_KEY"),
            crawler=_text(settings, "HEADWATER_CRAWLER"),
            endpoint=_text(settings, "HEADWATER_ENDPOINT"),
            params=settings.getdict("HEADWATER_PARAMS"),
            on_open_task=settings.get("HEADWATER_ON_OPEN_TASK", "fail"),
            status_seconds=settings.getfloat("HEADWATER_STATUS_SECONDS", STATUS_SECONDS),
            done_reasons=frozenset(settings.getlist("HEADWATER_DONE_REASONS", DONE_REASONS)),
            log_level=settings.get("HEADWATER_LOG_LEVEL", LOG_LEVEL) or None,
            writing={
                "max_bytes": settings.getint("HEADWATER_MAX_BYTES", MAX_BYTES),
                "max_seconds": settings.getfloat("HEADWATER_MAX_SECONDS", MAX_SECONDS),
                "retry_for": settings.getfloat("HEADWATER_PATIENCE", RETRY_FOR),
                # Items that do not match the schema are set aside, instead of ending the crawl.
                "lenient": settings.getbool("HEADWATER_LENIENT", default=False),
            },
        )
        if options.crawler is None and options.endpoint is None:
            raise NotConfigured("HEADWATER_CRAWLER is not set, so nothing is uploaded to Headwater")
        if options.endpoint is None and (options.url is None or options.key is None):
            raise ValueError("HEADWATER_URL and HEADWATER_KEY must be set, here or in the environment")
        if options.log_level is not None and options.log_level not in logging.getLevelNamesMapping():
            raise ValueError(f'HEADWATER_LOG_LEVEL is the name of a level, "INFO", and not {options.log_level!r}')
        if options.on_open_task not in {"fail", "stop"}:
            raise ValueError(f'HEADWATER_ON_OPEN_TASK is "fail" or "stop", and not {options.on_open_task!r}')
        return options


def _text(settings: BaseSettings, name: str) -> str | None:
    """Return a setting, by default from the environment; None if empty."""
    return settings.get(name, os.environ.get(name)) or None
