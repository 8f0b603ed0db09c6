"""Pages of long lists: by a position in the URL, and not by a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from headwater.console.visits import Visit

T = TypeVar("T")

#: Rows of a page.
ROWS = 50


@dataclass(frozen=True, kw_only=True)
class Rows(Generic[T]):
    """A page of a list."""

    rows: Sequence[T]
    #: The URL of the next page; None on the last.
    next_url: str | None
    #: The URL of the first page; None on the first.
    first_url: str | None


def rows_of(visit: Visit, found: Sequence[T], *, last: str | None, rows: int = ROWS) -> Rows[T]:
    """Return a page of what was found: one more than its rows if there is a next page, which begins after ``last``."""
    has_more = len(found) > rows
    return Rows(
        rows=found[:rows],
        next_url=with_position(visit, last) if has_more and last is not None else None,
        first_url=visit.here() if "after" in visit.query else None,
    )


def with_position(visit: Visit, position: str) -> str:
    """Return the URL of the page that begins after a position."""
    return visit.here(after=position)
