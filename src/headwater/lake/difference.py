"""What differs between two views of one stream: the winners on one side against those on the other.

Only the ids are looked at that the segments between the sides touch: those that one side sees and the
other does not. Which version wins is told by ranks alone; texts are read where they decide.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import duckdb
import pyarrow as pa

from headwater.domain.stream import Counts, Seen, Segment
from headwater.lake import winners
from headwater.lake.engine import BATCH, WHOLE, Engine

#: Ids that are compared at a time, at most.
MOST_AT_ONCE = 500_000
#: Ids looked at for each document of a page, and how much wider each further look is.
LOOK_AHEAD = 2
WIDER = 4


class Operation(StrEnum):
    """What became of a document between two views."""

    ADDED = "added"
    #: Another text shows.
    CHANGED = "changed"
    #: Another version shows, with the same text.
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    #: Another version shows, whatever its text.
    REPLACED = "replaced"
    #: The same version shows, though others came or went below it.
    UNAFFECTED = "unaffected"


@dataclass(frozen=True, kw_only=True)
class Moves:
    """How many documents are shown by other versions than before; texts are not compared."""

    #: Nothing showed before.
    added: int = 0
    #: Another version showed before.
    replaced: int = 0
    #: Nothing shows after.
    removed: int = 0
    #: The same version shows, though others came or went below it.
    unaffected: int = 0


@dataclass(frozen=True, kw_only=True)
class Side:
    """A document as one of the views shows it."""

    task: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One document in both views."""

    id: str
    before: Side | None
    after: Side | None


_SIDES = """
    sides AS (
        SELECT unnest($files) AS filename, unnest($layers)::BIGINT AS layer,
            unnest($before)::BIGINT AS before, unnest($after)::BIGINT AS after
    )
"""

# A view sees a segment up to a place, so that what only one of two views sees lies between two places.
_TOUCHED = """
    touched AS (
        SELECT DISTINCT v.doc_id FROM rows_of($touched) v
        JOIN sides s USING (filename)
        WHERE v.pos >= least(s.before, s.after) AND v.pos < greatest(s.before, s.after)
        AND (v.doc_id > $lower OR $lower IS NULL) AND (v.doc_id <= $upper OR $upper IS NULL)
    )
"""

_RANKED = f"""
    WITH {_SIDES}, {_TOUCHED}
    SELECT v.doc_id, max(v.rank) FILTER (v.pos < v.before) AS a, max(v.rank) FILTER (v.pos < v.after) AS b
    FROM (
        SELECT r.doc_id, r.pos, s.before, s.after, s.layer << 32 | r.pos AS rank
        FROM rows_of($files) r JOIN sides s USING (filename)
        WHERE (r.doc_id > $lower OR $lower IS NULL) AND (r.doc_id <= $upper OR $upper IS NULL)
    ) v SEMI JOIN touched USING (doc_id)
    GROUP BY v.doc_id
"""

_MOVES = f"""
    SELECT count(*) FILTER (a IS NULL AND b IS NOT NULL), count(*) FILTER (a != b),
        count(*) FILTER (a IS NOT NULL AND b IS NULL), count(*) FILTER (a = b)
    FROM ({_RANKED})
"""

_WINDOW = f"""
    WITH {_SIDES}, {_TOUCHED}
    SELECT max(doc_id), count(*) FROM (SELECT doc_id FROM touched ORDER BY doc_id LIMIT $ids)
"""

_LAYERS = "SELECT DISTINCT {side} >> 32 FROM moved WHERE {side} IS NOT NULL"

# With each side's documents from its own files: of one layer, an old and a merged segment may be on either side.
_DOCS = """
    {side}_docs AS (
        SELECT v.doc_id, s.task, v.doc, s.layer << 32 | v.pos AS rank
        FROM rows_of(${side}_files) v
        JOIN (
            SELECT unnest(${side}_files) AS filename, unnest(${side}_layers)::BIGINT AS layer,
                unnest(${side}_tasks) AS task
        ) s USING (filename)
        WHERE v.doc_id >= $lowest AND v.doc_id <= $highest
    )
"""
_NO_DOCS = """
    {side}_docs AS (SELECT NULL::VARCHAR AS doc_id, NULL AS task, NULL::VARCHAR AS doc, 0 AS rank WHERE false)
"""
_PAIRS = """
    pairs AS (
        SELECT m.doc_id, m.a, m.b, a_docs.task AS before_task, a_docs.doc AS before,
            b_docs.task AS after_task, b_docs.doc AS after
        FROM moved m
        LEFT JOIN a_docs ON a_docs.doc_id = m.doc_id AND a_docs.rank = m.a
        LEFT JOIN b_docs ON b_docs.doc_id = m.doc_id AND b_docs.rank = m.b
    )
"""

_COUNTS = """
    SELECT count(*) FILTER (a IS NULL), count(*) FILTER (a != b AND before != after),
        count(*) FILTER (a != b AND before = after), count(*) FILTER (b IS NULL)
    FROM pairs
"""

_IS = {
    Operation.ADDED: "a IS NULL",
    Operation.CHANGED: "a != b AND before != after",
    Operation.UNCHANGED: "a != b AND before = after",
    Operation.REMOVED: "b IS NULL",
    Operation.REPLACED: "a != b",
    Operation.UNAFFECTED: "a = b",
}


class Comparison:
    """Two views of a stream, to be compared."""

    def __init__(self, engine: Engine, before: Sequence[Seen], after: Sequence[Seen]) -> None:
        """Compare what shows ``before`` with what shows ``after``."""
        self._engine = engine
        ends: dict[str, tuple[Segment, int, int]] = {}
        for one in before:
            ends[one.segment.path] = (one.segment, WHOLE if one.until is None else one.until, 0)
        for one in after:
            _, until, _ = ends.get(one.segment.path, (None, 0, 0))
            ends[one.segment.path] = (one.segment, until, WHOLE if one.until is None else one.until)
        self._touched = [segment for segment, a, b in ends.values() if a != b]
        lowest = min((segment.min_id for segment in self._touched), default=b"")
        highest = max((segment.max_id for segment in self._touched), default=b"")
        # Files that hold none of the ids that are touched need not be opened.
        near = (end for end in ends.values() if end[0].max_id >= lowest and end[0].min_id <= highest)
        self._ends = list(near)
        segments = [segment for segment, _, _ in self._ends]
        self._values: dict[str, Any] = {
            "files": engine.files(segments),
            "layers": [segment.layer for segment in segments],
            "before": [a for _, a, _ in self._ends],
            "after": [b for _, _, b in self._ends],
            "touched": engine.files(self._touched),
        }

    def moves(self) -> Moves:
        """Return how many documents other versions show; ranks alone tell."""
        if not self._touched:
            return Moves()
        added, replaced, removed, unaffected = self._engine.rows(_MOVES, self._between(None, None))[0]
        return Moves(added=added, replaced=replaced, removed=removed, unaffected=unaffected)

    def counts(self) -> Counts:
        """Return what became of the documents, their texts compared."""
        totals = [0, 0, 0, 0]
        for lower, upper in self._ranges():
            with self._moved(lower, upper) as (cursor, values):
                if values is not None:
                    row = cursor.execute(self._query(values, _COUNTS), values).fetchall()[0]
                    totals = [total + more for total, more in zip(totals, row, strict=True)]
        added, changed, unchanged, removed = totals
        return Counts(added=added, changed=changed, unchanged=unchanged, removed=removed)

    def batches(self, operations: Sequence[Operation]) -> Iterator[pa.RecordBatch]:
        """Yield the documents of which one of the operations is true, in id order.

        Columns ``doc_id``, ``before_task``, ``before``, ``after_task`` and ``after``; null where
        nothing shows.
        """
        for lower, upper in self._ranges():
            yield from self._range(operations, lower, upper)

    def page(self, operation: Operation, *, after: str | None, limit: int) -> list[Difference]:
        """Return documents of which an operation is true behind the id ``after``, in id order, at most ``limit``."""
        found: list[Difference] = []
        ids = limit * LOOK_AHEAD
        while self._touched and len(found) < limit:
            bound, seen = self._engine.rows(_WINDOW, self._between(after, None) | {"ids": ids})[0]
            if bound is None:
                break
            for batch in self._range([operation], after, bound):
                found += [_difference(row) for row in batch.to_pylist()]
            if seen < ids:
                break
            after, ids = bound, min(ids * WIDER, MOST_AT_ONCE)
        return found[:limit]

    def _range(self, operations: Sequence[Operation], lower: str | None, upper: str | None) -> Iterator[pa.RecordBatch]:
        wanted = " OR ".join(_IS[operation] for operation in operations)
        columns = "doc_id, before_task, before, after_task, after"
        with self._moved(lower, upper) as (cursor, values):
            if values is not None:
                query = self._query(values, f"SELECT {columns} FROM pairs WHERE {wanted} ORDER BY doc_id")
                yield from cursor.sql(query, params=values).to_arrow_reader(BATCH)

    @contextmanager
    def _moved(
        self, lower: str | None, upper: str | None
    ) -> Generator[tuple[duckdb.DuckDBPyConnection, dict[str, Any] | None]]:
        """Make the table ``moved`` of the ids that are touched; lend what joins their texts, None if there are none."""
        with self._engine.cursor(self._values) as cursor:
            ranked = f"CREATE TEMP TABLE moved AS SELECT * FROM ({_RANKED}) WHERE a IS NOT NULL OR b IS NOT NULL"
            cursor.execute(ranked, self._between(lower, upper))
            try:
                yield cursor, self._texts(cursor)
            finally:
                cursor.execute("DROP TABLE moved")

    def _texts(self, cursor: duckdb.DuckDBPyConnection) -> dict[str, Any] | None:
        lowest, highest = cursor.execute("SELECT min(doc_id), max(doc_id) FROM moved").fetchall()[0]
        if lowest is None:
            return None
        values: dict[str, Any] = {"lowest": lowest, "highest": highest}
        for place, side in enumerate("ab"):
            # Only files with a winner are opened.
            layers = {layer for (layer,) in cursor.execute(_LAYERS.format(side=side)).fetchall()}
            segments = [segment for segment, *ends in self._ends if ends[place] > 0 and segment.layer in layers]
            if segments:
                values[f"{side}_files"] = self._engine.files(segments)
                values[f"{side}_layers"] = [segment.layer for segment in segments]
                values[f"{side}_tasks"] = [segment.task for segment in segments]
        return values

    @staticmethod
    def _query(values: dict[str, Any], question: str) -> str:
        docs = [(_DOCS if f"{side}_files" in values else _NO_DOCS).format(side=side) for side in "ab"]
        return f"WITH {', '.join(docs)}, {_PAIRS} {question}"

    def _between(self, lower: str | None, upper: str | None) -> dict[str, Any]:
        return self._values | {"lower": lower, "upper": upper}

    def _ranges(self) -> list[tuple[str | None, str | None]]:
        if not self._touched:
            return []
        size = sum(2 * segment.bytes for segment in self._touched)
        docs = sum(segment.docs for segment in self._touched)
        ranges = max(self._engine.ranges_for(size), -(-docs // MOST_AT_ONCE))
        bounds = winners.cut(self._engine, self._touched, ranges=ranges)
        return list(zip([None, *bounds], [*bounds, None], strict=True))


def _difference(row: dict[str, Any]) -> Difference:
    return Difference(
        id=row["doc_id"], before=_side(row["before_task"], row["before"]), after=_side(row["after_task"], row["after"])
    )


def _side(task: str | None, text: str | None) -> Side | None:
    return None if task is None or text is None else Side(task=task, text=text)
