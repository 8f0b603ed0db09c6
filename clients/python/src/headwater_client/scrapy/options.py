"""What the settings of a Scrapy project say about Headwater."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scrapy.exceptions import NotConfigured

from headwater_client.writer import MAX_BYTES, MAX_SECONDS, PATIENCE

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings
    from typing_extensions import Self

#: Seconds between two reports of how it goes.
STATUS_SECONDS = 60.0
#: Why a spider closes that did what it was to do: it came to its end, or to as many pages or items as it was to bring.
DONE_REASONS = ["finished", "closespider_itemcount", "closespider_pagecount"]


@dataclass(frozen=True)
class Options:
    """What the settings say."""

    url: str | None
    key: str | None
    #: The fid or the name of a crawler whose run this is.
    crawler: str | None
    #: Of a task that somebody else began; then the three above are not looked at.
    endpoint: str | None
    #: They override the crawler's.
    params: Mapping[str, Any]
    #: What to do if the crawler has an open task: ``fail`` or ``stop`` it.
    on_open_task: str
    #: Seconds between two reports of how it goes; 0 is never.
    status_seconds: float
    #: Why a spider closes that did all that it was to do.
    done_reasons: frozenset[str]
    #: Options of the writer.
    writing: Mapping[str, float]

    @classmethod
    def of(cls, settings: BaseSettings) -> Self:
        """Read the settings, some of which may be in the environment.

        Raises:
            NotConfigured: they name no crawler and no task.
            ValueError: one is missing, or is none.
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
            writing={
                "max_bytes": settings.getint("HEADWATER_MAX_BYTES", MAX_BYTES),
                "max_seconds": settings.getfloat("HEADWATER_MAX_SECONDS", MAX_SECONDS),
                "patience": settings.getfloat("HEADWATER_PATIENCE", PATIENCE),
            },
        )
        if options.crawler is None and options.endpoint is None:
            raise NotConfigured("HEADWATER_CRAWLER is not set, so nothing is uploaded to Headwater")
        if options.endpoint is None and (options.url is None or options.key is None):
            raise ValueError("HEADWATER_URL and HEADWATER_KEY must be set, here or in the environment")
        if options.on_open_task not in {"fail", "stop"}:
            raise ValueError(f'HEADWATER_ON_OPEN_TASK is "fail" or "stop", and not {options.on_open_task!r}')
        return options


def _text(settings: BaseSettings, name: str) -> str | None:
    """Return a setting, or what the environment says; an empty one is none."""
    return settings.get(name, os.environ.get(name)) or None
