"""Scrapy's items and statistics, as what can be JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any, cast

from itemadapter import ItemAdapter

#: How many statistics are reported, and how many characters of a text among them.
STATISTICS = 200
CHARACTERS = 1000


def document_of(item: Any) -> object:
    """Return an item as a document: a pydantic model as its own schema says it, others as Scrapy sees them.

    Raises:
        TypeError: it is of no kind that Scrapy takes for an item.
    """
    if isinstance(item, dict) or hasattr(item, "model_dump"):
        return cast("object", item)
    adapter: Any = ItemAdapter(item)
    return dict[str, Any](adapter)


def statistics_of(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Return statistics by name, the first so many of them."""
    return {name: _plain(value) for name, value in sorted(stats.items())[:STATISTICS]}


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    is_json = value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))
    return value if is_json else str(value)[:CHARACTERS]
