"""How much text one page may have, however large its documents are."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from headwater.domain.errors import Unavailable
from headwater.lake.engine import is_out_of_memory

Row = TypeVar("Row")
Position = TypeVar("Position")

#: Characters after which a page ends, be there fewer documents than asked for: the longest document comes on top.
PAGE_TEXT = 32 << 20


#: By how much fewer rows are asked for when they need more memory than there is.
SMALLER = 8


def until_full(rows: Iterable[Row], size: Callable[[Row], int], *, most: int | None = None) -> Iterator[Row]:
    """Yield rows, up to the one with which their texts reach ``most`` characters, ``PAGE_TEXT`` by default."""
    left = PAGE_TEXT if most is None else most
    for row in rows:
        yield row
        left -= size(row)
        if left <= 0:
            return


def is_full(rows: Iterable[Row], size: Callable[[Row], int]) -> bool:
    """Return whether a page ended with these rows because of their size."""
    return sum(map(size, rows)) >= PAGE_TEXT


def page_of(
    rows: list[Row], limit: int, size: Callable[[Row], int], *, most: int | None = None
) -> tuple[list[Row], bool]:
    """Return the rows of a page, and whether more may follow, of ``limit`` rows and one that were asked for.

    A page ends with the row with which its texts reach ``most`` characters, ``PAGE_TEXT`` by default.
    """
    shown = list(until_full(rows[:limit], size, most=most))
    return shown, len(rows) > len(shown) or is_full(rows, size)


def in_portions(
    ask: Callable[[Position, int], Sequence[Row]], after: Position, limit: int, position: Callable[[Row], Position]
) -> Iterator[Row]:
    """Yield up to ``limit`` rows after a position, fewer at a time where they need more memory than there is.

    ``ask`` returns the first rows after a position, as many as it is told or all that there are.
    """
    at_once = limit
    while limit > 0:
        wanted = min(at_once, limit)
        try:
            rows = ask(after, wanted)
        except Unavailable as error:
            at_once = fewer(wanted, error)
            continue
        yield from rows
        if len(rows) < wanted:
            return
        after = position(rows[-1])
        limit -= wanted


def fewer(rows: int, error: Unavailable) -> int:
    """Return how many rows to ask for after as many needed more memory than there is.

    Raises:
        Unavailable: it was one row, or the reason is another one.
    """
    if rows == 1 or not is_out_of_memory(error):
        raise error
    return max(1, rows // SMALLER)
