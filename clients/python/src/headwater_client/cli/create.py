"""Creates a stream and its crawler together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Crawler, Stream


def create_both(headwater: Headwater, name: str, create: Callable[[Stream], Crawler]) -> Crawler:
    """Create a stream and its crawler, or neither."""
    into = headwater.streams.create(name)
    try:
        return create(into)
    except BaseException:
        headwater.streams.delete(into)
        raise
