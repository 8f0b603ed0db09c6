"""Current versions that show nothing: deletions, and what a snapshot of a part hides.

The version in the highest visible layer is the current one of its id. It shows nothing if it has no text, which is a
deletion, or if a floor with a scope lies above it and the scope matches its document. Floors without a scope need no
look at documents (``domain/segment_table``).
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import pyarrow as pa

from headwater.domain.filter import Condition
from headwater.domain.segment_table import VisibleSegments
from headwater.lake.engine import Engine, Found
from headwater.lake.filters import clause

#: In queries: whether the current version, of a ``rank`` and with a text ``doc``, shows.
SHOWS = "shows(rank, doc)"


def hides(
    seen: VisibleSegments, *, rank: str = "rank", doc: str = "doc", prefix: str = "h"
) -> tuple[str, dict[str, Any]]:
    """Return SQL that is true for a current version of a view that shows nothing, and its parameters."""
    parts = [f"{doc} = ''"] if seen.has_deletions else []
    values: dict[str, Any] = {}
    for number, floor in enumerate(seen.scoped_floors):
        text, more = clause(Condition(comparisons=floor.scope), column=doc, prefix=f"{prefix}{number}_")
        parts.append(f"({rank} >> 32 < {floor.layer} AND {doc} != '' AND ({text}))")
        values |= more
    return (" OR ".join(f"({part})" for part in parts) or "false"), values


def with_shows(question: str, seen: VisibleSegments) -> tuple[str, dict[str, Any]]:
    """Return a query with ``SHOWS`` replaced, and the parameters of that."""
    if not seen.hides:
        return question.replace(SHOWS, "true"), {}
    text, values = hides(seen)
    return question.replace(SHOWS, f"NOT ({text})"), values


def flags(engine: Engine, seen: VisibleSegments, ranks: Iterable[int], texts: Sequence[str]) -> list[bool]:
    """Return which current versions of a view show nothing, given the rank and text of each."""
    hidden = [not text for text in texts]
    if seen.scoped_floors and texts:
        condition, values = hides(seen)
        columns = {"place": range(len(texts)), "rank": list(ranks), "doc": list(texts)}
        asked = cast("Any", pa).table({name: pa.array(column) for name, column in columns.items()})
        for (place,) in engine.rows(f"SELECT place FROM asked WHERE {condition}", values, tables={"asked": asked}):
            hidden[place] = True
    return hidden


def shown(engine: Engine, seen: VisibleSegments, ranks: Iterable[int], found: Sequence[Found]) -> list[Found]:
    """Return those of the current versions of a view that show."""
    if not seen.hides:
        return list(found)
    hidden = flags(engine, seen, ranks, [one.text for one in found])
    return [one for one, is_hidden in zip(found, hidden, strict=True) if not is_hidden]
