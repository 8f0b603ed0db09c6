"""What several tasks did to one stream, in one pass over its ids: many small tasks cost about as much as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.domain.segment_table import SegmentTable, VisibleSegments
from headwater.domain.stream import Counts
from headwater.lake.engine import TEXT_HASH, Engine

# Of each document that one of the tasks brought: its last version of each task, and its last one between two tasks, in
# order. A task's version is compared with the one before it.
_COUNTS = f"""
    WITH brought AS (
        SELECT DISTINCT doc_id FROM rows_of(touched) v JOIN seen s USING (part) WHERE s.place % 2 = 1
    ),
    known AS (
        SELECT v.doc_id, s.place, max(s.layer << 32 | v.pos) AS rank,
            arg_max({TEXT_HASH.format(row="v")}, s.layer << 32 | v.pos) AS text
        FROM hashes_of(files) v JOIN seen s USING (part) SEMI JOIN brought USING (doc_id)
        WHERE v.pos < s.until
        GROUP BY v.doc_id, s.place
    ),
    pairs AS (
        SELECT place, text, lag(text) OVER (PARTITION BY doc_id ORDER BY place) AS before FROM known
    )
    SELECT place, count(*) FILTER (before IS NULL), count(*) FILTER (before != text), count(*) FILTER (before = text)
    FROM pairs WHERE place % 2 = 1 GROUP BY place
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a task brought, and the stream version that shows all of it."""

    task: str
    attempt: int
    version: int


def together(shown: VisibleSegments, runs: Sequence[Run]) -> list[Run]:
    """Return those of the runs that can be summed up in one pass over a view, in the order of their layers.

    That is where the view shows, up to the layer of the run, what the stream showed when the run had just been added:
    nothing was removed since, and no other task has a layer between those of the run. None can where a snapshot run
    has hidden anything, or a document was deleted.
    """
    table = shown.table
    if table.is_floor.any() or table.deletions.any():
        return []
    whole = (shown.until > 0) & (table.whole_version <= min((run.version for run in runs), default=0))
    found: list[tuple[int, Run]] = []
    for run in runs:
        own = _own(table, run) & (shown.until > 0)
        if not own.any():
            continue
        first, last = int(table.layer[own].min()), int(table.layer[own].max())
        beneath = table.layer <= last
        then = beneath & table.is_shown_at(run.version)
        between = then & (table.layer >= first) & ~own
        if np.array_equal(then, beneath & (shown.until > 0)) and not between.any() and (whole | own)[then].all():
            found.append((first, run))
    return [run for _, run in sorted(found, key=lambda one: one[0])]


def summaries(engine: Engine, shown: VisibleSegments, runs: Sequence[Run]) -> Mapping[str, Counts]:
    """Return what each of the runs, as ``together`` returns them, added, changed and left unchanged, by task."""
    table = shown.table
    # Odd places are those of the runs; even ones lie between them.
    place = np.zeros(len(table), np.int64)
    own_of_any = np.zeros(len(table), bool)
    for number, run in enumerate(runs):
        own = _own(table, run) & (shown.until > 0)
        first = int(table.layer[own].min())
        place[(table.layer >= first) & ~own_of_any] = 2 * number + 2
        place[own] = 2 * number + 1
        own_of_any |= own
    last = int(table.layer[own_of_any].max())
    seen = shown.only(table.layer <= last)
    touched = seen.only(own_of_any)
    lowest, highest = table.bounds(touched.rows)
    files = [file for file in seen.files if file.max_id >= lowest and file.min_id <= highest]
    columns = {name: getattr(table, name)[seen.rows] for name in ("part", "layer")}
    rows = cast("Any", pa).table({**columns, "until": seen.until[seen.rows], "place": place[seen.rows]})
    reads = {"files": files, "touched": touched.files}
    counted = {
        place: Counts(added=added, changed=changed, unchanged=unchanged)
        for place, added, changed, unchanged in engine.rows(_COUNTS, {}, reads=reads, tables={"seen": rows})
    }
    return {run.task: counted.get(2 * number + 1, Counts()) for number, run in enumerate(runs)}


def _own(table: SegmentTable, run: Run) -> "NDArray[np.bool_]":
    return table.is_of([run.task]) & (table.attempt == run.attempt)
