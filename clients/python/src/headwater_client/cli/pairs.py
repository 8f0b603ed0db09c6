"""A stream and the crawler that feeds it, made together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.objects import Crawler, Stream


def create_both(headwater: Headwater, name: str, create: Callable[[Stream], Crawler]) -> Crawler:
    """Create a stream and its crawler, or neither."""
    into = headwater.streams.create(name)
    try:
        return create(into)
    except BaseException:
        headwater.streams.delete(into)
        raise
