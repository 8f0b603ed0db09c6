"""Converts Scrapy's items and statistics to JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, cast

from itemadapter import ItemAdapter

from headwater_client.cleaning import clean_text, cleaned

#: Maximum number of reported statistics, and of characters of a string among them.
STATISTICS = 200
CHARACTERS = 1000


def document_of(item: Any) -> object:
    """Return an item as a document: pydantic models are serialized by pydantic, other items by ItemAdapter.

    Raises:
        TypeError: it is not of an item type of Scrapy.
    """
    if isinstance(item, dict) or hasattr(item, "model_dump"):
        return cast("object", item)
    adapter: Any = ItemAdapter(item)
    return dict[str, Any](adapter)


def statistics_of(stats: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the first statistics by name; a name may be of any type, such as an HTTP status."""
    named = sorted(((clean_text(name), value) for name, value in stats.items()), key=lambda each: each[0])
    return {name: _plain(value) for name, value in named[:STATISTICS]}


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, (bool, int, float)):
        return cleaned(value)
    return clean_text(value)[:CHARACTERS]
