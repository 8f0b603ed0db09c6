"""Lists of which only the first items are wanted, asked for in pages that are no larger than that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from headwater_client.parts import PAGE
from headwater_client.questions import Pages, given

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.objects import Record

    R = TypeVar("R", bound=Record)


def first(headwater: Headwater, path: str, kind: type[R], limit: int, **filters: Any) -> Iterator[R]:
    """Iterate over a list, of which about ``limit`` items are wanted; 0 for all."""
    size = min(limit + 1, PAGE) if limit > 0 else PAGE  # one more tells that there are more
    question: Mapping[str, Any] = {**given(**filters), "limit": size}
    return headwater.driver.walk(Pages(path, kind.read, dict(question)))
