"""Pages of long lists: by a position in the URL, and not by a number; and how lists are sorted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

from headwater.catalog.object_lists import ObjectOrder, ObjectQuery, Place, type_of
from headwater.catalog.objects import ObjectType
from headwater.console.visits import Visit
from headwater.domain.ids import is_fid
from headwater.domain.task import TaskState

T = TypeVar("T")
O = TypeVar("O")  # noqa: E741 - an order

#: Rows of a page.
ROWS = 50
#: Of the query: how a list is sorted.
SORT = "sort"
#: What runs are filtered by, and streams and crawlers by their latest run.
STATES = (*map(str, TaskState), "withheld", "undone")


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


@dataclass(frozen=True, kw_only=True)
class Choice(Generic[O]):
    """A way to sort a list."""

    order: O
    is_descending: bool
    #: What it is called.
    words: str


@dataclass(frozen=True, kw_only=True)
class ColumnHead:
    """The head of a column that a list can be sorted by."""

    #: The list sorted by it; the other way round if it is already.
    url: str
    #: How the list is sorted by it, as ``aria-sort`` says it; None if it is not.
    direction: Literal["ascending", "descending"] | None


@dataclass(frozen=True, kw_only=True)
class Sorting(Generic[O]):
    """How a list can be sorted, by what its URL says, and how it is."""

    choices: Mapping[str, Choice[O]]
    chosen: str
    url_of: Callable[[str], str]

    @property
    def choice(self) -> Choice[O]:
        """How the list is sorted."""
        return self.choices[self.chosen]

    def head(self, order: O) -> ColumnHead:
        """Return the head of the column with what an order compares."""
        ways = [name for name, choice in self.choices.items() if choice.order == order]
        is_sorted = self.chosen in ways
        direction = "descending" if self.choice.is_descending else "ascending"
        following = next((name for name in ways if name != self.chosen), self.chosen)
        return ColumnHead(url=self.url_of(following), direction=direction if is_sorted else None)


def sorting_of(visit: Visit, choices: Mapping[str, Choice[O]]) -> Sorting[O]:
    """Return how the URL sorts a list; by its first choice, unless it names one of the others."""
    first, given = next(iter(choices)), visit.query.get(SORT)

    def url_of(name: str) -> str:
        return visit.here(sort=None if name == first else name)

    return Sorting(choices=choices, chosen=given if given in choices else first, url_of=url_of)


def query_of(visit: Visit, choice: Choice[ObjectOrder]) -> ObjectQuery:
    """Return which objects the URL lists; what it does not know is left out."""
    external, state = visit.query.get("external"), visit.query.get("state")
    return ObjectQuery(
        name=visit.query.get("q").strip().replace("\0", "")[:200],
        external=external if is_fid(external) else None,
        state=state if state in STATES else None,
        order=choice.order,
        is_descending=choice.is_descending,
    )


def position_of(place: Place) -> str:
    """Return a place in a list of objects as a position in the URL."""
    value = place.value.isoformat() if isinstance(place.value, datetime) else place.value
    return place.fid if value is None else f"{place.fid}.{value}"


def place_of(visit: Visit, kind: ObjectType[Any], query: ObjectQuery) -> Place | None:
    """Return the place after which the page of the URL begins; None if it names none that the list has."""
    fid, dot, text = visit.query.get("after").partition(".")
    if not is_fid(fid):
        return None
    if not dot:
        return Place(fid=fid)
    try:
        return Place(fid=fid, value=_value_of(text, type_of(kind, query.order)))
    except ValueError:
        return None


def _value_of(text: str, wanted: type | None) -> int | str | datetime | None:
    """Return the value of a position; of a position in a list that is sorted by something else, an error or None.

    Raises:
        ValueError: it is none of the wanted type.
    """
    if wanted is datetime:
        return _moment_of(text)
    if wanted is int:
        if len(text) > 18:  # noqa: PLR2004 - what databases take for a number
            raise ValueError(text)
        return int(text)
    if "\0" in text:
        raise ValueError(text)
    return None if wanted is None else text


def _moment_of(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(text) from error
    raise ValueError(text)
