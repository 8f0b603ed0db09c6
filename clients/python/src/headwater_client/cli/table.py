"""Fetches the first items of a list, with a page size no larger than needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from headwater_client.requests import Pages, given
from headwater_client.resource import PAGE

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Record

    R = TypeVar("R", bound=Record)


def first(headwater: Headwater, path: str, kind: type[R], limit: int, **filters: Any) -> Iterator[R]:
    """Iterate over a list, of which about ``limit`` items are needed; 0 for all."""
    size = min(limit + 1, PAGE) if limit > 0 else PAGE  # one more, to know whether there are more
    params: Mapping[str, Any] = {**given(**filters), "limit": size}
    return headwater.driver.iterate(Pages(path, kind.read, dict(params)))
