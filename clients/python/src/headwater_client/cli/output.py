"""Output of commands: tables on a terminal, JSON otherwise."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import typer
from rich.cells import cell_len, set_cell_size

from headwater_client.cli.errors import complain, harmless

if TYPE_CHECKING:
    from headwater_client.models.objects import Object, Record
    from headwater_client.models.results import LogEntry, MatchChange

    R = TypeVar("R", bound=Record)

T = TypeVar("T")

#: Minimum width of a column, and the width reserved for field names beside an object's values.
NARROWEST = 8
MARGIN = 20

#: The colours of states; the others are plain.
COLORS = {
    **dict.fromkeys(("done", "delivered", "shown"), typer.colors.GREEN),
    **dict.fromkeys(("running", "pending"), typer.colors.CYAN),
    **dict.fromkeys(("failed", "timed_out", "expired"), typer.colors.RED),
    **dict.fromkeys(("stopped", "deleted", "removed", "revoked"), typer.colors.YELLOW),
}

#: Fields of objects that hold a state.
STATES = ("state", "status.state")

_AGES = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_SIZES = ("B", "kB", "MB", "GB", "TB")


def is_for_people(*, as_json: bool) -> bool:
    """Return whether to print for people: stdout is a terminal, and ``--json`` is not set."""
    return not as_json and sys.stdout.isatty()


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a table."""

    title: str
    cell: Callable[[T], object]
    #: Never truncated, so that it can be copied.
    is_whole: bool = False
    is_number: bool = False
    #: Omitted if empty in all rows.
    may_be_empty: bool = False
    #: Omitted if the table is too wide for the terminal otherwise.
    is_minor: bool = False
    #: Its values are states, and in colour.
    is_state: bool = False


@dataclass(frozen=True)
class Some(Generic[T]):
    """The first items of a list."""

    items: Sequence[T]
    #: Whether the list has more items.
    has_more: bool


def first(items: Iterable[T], limit: int) -> Some[T]:
    """Return at most ``limit`` items; 0 for all."""
    walk = iter(items)
    taken = list(islice(walk, limit) if limit > 0 else walk)
    return Some(taken, has_more=len(taken) == limit > 0 and next(walk, None) is not None)


def answer_list(some: Some[R], columns: Sequence[Column[R]], what: str, *, as_json: bool) -> None:
    """Print a list: a table, or a JSON array."""
    if not is_for_people(as_json=as_json):
        answer_json([row.raw for row in some.items])
        return
    if some.items:
        _print_table(some.items, columns)
    if some.has_more:
        complain(f"there are more {what}: --limit says how many to show, 0 all")
    elif not some.items:
        complain(f"there are no {what}")


def answer_object(raw: Mapping[str, Any], *, as_json: bool, names: Mapping[str, str] | None = None) -> None:
    """Print an object: one field per line, or JSON.

    Args:
        raw: the object's JSON.
        as_json: whether ``--json`` is set.
        names: names of referenced objects, by fid.
    """
    if not is_for_people(as_json=as_json):
        answer_json(raw)
        return
    rows = list(_fields(raw, names or {}))
    width = max(len(title) for title, _ in rows)
    for title, value in rows:
        first, *more = value.split("\n")
        shown = harmless(first)
        typer.echo(f"{title:<{width}}  {in_color(shown) if title in STATES else shown}")
        for line in more:
            typer.echo(f"{'':<{width}}  {harmless(line)}")


def answer_made(made: Object, kind: str, *, as_json: bool) -> None:
    """Print an object that was created."""
    if is_for_people(as_json=as_json):
        typer.echo(f"{kind} {made.fid} ({harmless(made.name or '')}) is created.")
    else:
        answer_json(made.raw)


def tasks_of(entry: LogEntry | MatchChange) -> str:
    """Return the task that a change of a stream is due to, or how many there are."""
    return entry.task or (many(len(entry.tasks), "task") if entry.tasks else "")


def json_text(value: object, indent: int | None = None) -> str:
    """Return a value as JSON; with escapes if stdout's encoding is not UTF-8."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-")
    return json.dumps(value, ensure_ascii=not encoding.startswith("utf"), indent=indent)


def answer_json(value: object) -> None:
    """Print a JSON document."""
    typer.echo(json_text(value, indent=2))


def age(moment: datetime | None) -> str:
    """Return the age of something in short form: ``5m``."""
    if moment is None:
        return ""
    return span((datetime.now(UTC) - moment).total_seconds())


def span(seconds: float) -> str:
    """Return a duration in short form."""
    whole = max(int(seconds), 0)
    unit, size = next(((unit, size) for unit, size in _AGES if whole >= size), ("s", 1))
    return f"{whole // size}{unit}"


def size(bytes_: float) -> str:
    """Return a human-readable number of bytes."""
    for unit in _SIZES:
        if bytes_ < 1000 or unit == _SIZES[-1]:  # noqa: PLR2004 - decimal units
            return f"{bytes_:.1f} {unit}" if unit != "B" else f"{bytes_:.0f} B"
        bytes_ /= 1000
    raise AssertionError


def many(number: int, thing: str) -> str:
    """Return a number and a noun, pluralized."""
    return f"{number:,} {thing if number == 1 else thing + 's'}"


def _fields(raw: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return the non-empty fields of an object as names and texts."""
    for name, value in raw.items():
        if isinstance(value, str) and names.get(value):
            yield name, f"{value} ({names[value]})"
        elif isinstance(value, dict) and _is_shallow(cast("dict[str, Any]", value)):
            yield from ((f"{name}.{inner}", text) for inner, text in _fields(cast("dict[str, Any]", value), names))
        elif isinstance(value, list):
            yield name, "\n".join(_compact(_without_gaps(item)) for item in cast("list[Any]", value))
        elif value not in (None, "", {}):
            yield name, value if isinstance(value, str) else _plain(cast("object", value))


def _is_shallow(value: Mapping[str, Any], depth: int = 2) -> bool:
    inner = [cast("dict[str, Any]", held) for held in value.values() if isinstance(held, dict)]
    return depth > 0 and all(_is_shallow(held, depth - 1) for held in inner)


def _without_gaps(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: held for key, held in cast("dict[str, Any]", value).items() if held not in (None, [], False)}


def _compact(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plain(value: object) -> str:
    short = _compact(value)
    is_short = len(short) < get_terminal_size().columns - MARGIN
    return short if is_short else json.dumps(value, ensure_ascii=False, indent=2)


def _print_table(rows: Iterable[T], columns: Sequence[Column[T]]) -> None:
    cells = [[harmless(_cell(column.cell(row))) for column in columns] for row in rows]
    shown = [
        place for place, column in enumerate(columns) if not column.may_be_empty or any(row[place] for row in cells)
    ]
    widths = {place: max(cell_len(row[place]) for row in [[each.title for each in columns], *cells]) for place in shown}
    elastic = {place for place in shown if not columns[place].is_whole and not columns[place].is_number}
    for place in [place for place in reversed(shown) if columns[place].is_minor]:
        if _spare({each: min(width, NARROWEST) if each in elastic else width for each, width in widths.items()}) < 0:
            del widths[place]
    _fit(widths, elastic & widths.keys())
    typer.secho(_line(columns, [column.title for column in columns], widths), bold=True)
    for row in cells:
        typer.echo(_line(columns, row, widths, with_states=True))


def _line(
    columns: Sequence[Column[T]], row: Sequence[str], widths: Mapping[int, int], *, with_states: bool = False
) -> str:
    parts = [_padded(row[place], width, is_number=columns[place].is_number) for place, width in widths.items()]
    parts[-1] = parts[-1].rstrip()
    if with_states:
        states = [row[place] if columns[place].is_state else "" for place in widths]
        parts = [in_color(state, part) for state, part in zip(states, parts, strict=True)]
    return "  ".join(parts).rstrip()


def _fit(widths: dict[int, int], elastic: set[int]) -> None:
    """Shrink the widest elastic columns until the table fits the terminal."""
    spare = _spare(widths)
    while spare < 0 and elastic:
        widest = max(elastic, key=lambda place: widths[place])
        if widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1
        spare += 1


def _spare(widths: Mapping[int, int]) -> int:
    """Return how much narrower columns are than the terminal, with two spaces between them."""
    return get_terminal_size().columns - sum(widths.values()) - 2 * (len(widths) - 1)


def _padded(text: str, width: int, *, is_number: bool) -> str:
    if is_number:
        return text.rjust(width)
    return set_cell_size(text, width) if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"


def in_color(state: str, text: str | None = None) -> str:
    """Return a state, or a text that shows it, in its colour; unless ``NO_COLOR`` is set."""
    text = state if text is None else text
    # https://no-color.org: if it is set and not empty.
    return text if os.environ.get("NO_COLOR") or state not in COLORS else typer.style(text, fg=COLORS[state])


def _cell(value: object) -> str:
    return "" if value is None else str(value)
