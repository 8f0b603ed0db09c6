import duckdb
import pytest

from headwater.domain.errors import Unavailable
from headwater.lake.page_size import in_portions

ROWS = list(range(1, 40))


def _engine(most: int, *, cause: Exception | None = None):
    """What returns rows after a position, and fails where these are more than ``most``; and what it was asked."""
    asked = []

    def ask(after, rows):
        asked.append((after, rows))
        if rows > most:
            raise Unavailable("too much") from (cause or duckdb.OutOfMemoryException("no memory"))
        return [row for row in ROWS if row > after][:rows]

    return ask, asked


@pytest.mark.parametrize("most", [1, 2, 7, 100])
@pytest.mark.parametrize("limit", [1, 20, 39, 1000])
def test_what_needs_too_much_memory_at_once_is_read_in_portions(most, limit):
    ask, _ = _engine(most)
    assert list(in_portions(ask, 0, limit, int)) == ROWS[:limit]


def test_rows_that_fit_are_asked_for_once():
    ask, asked = _engine(100)
    assert list(in_portions(ask, 3, 50, int)) == ROWS[3:]
    assert asked == [(3, 50)]


def test_one_row_that_does_not_fit_is_an_error():
    ask, _ = _engine(0)
    with pytest.raises(Unavailable, match="too much"):
        list(in_portions(ask, 0, 10, int))


def test_another_reason_is_not_answered_by_smaller_portions():
    ask, asked = _engine(1, cause=OSError("closing"))
    with pytest.raises(Unavailable):
        list(in_portions(ask, 0, 10, int))
    assert len(asked) == 1
