"""The diff of two views of one stream: the current versions of one against those of the other.

Only ids in segments that just one of the views sees are compared. Ranks alone decide which version is current;
texts are read only where they matter.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, TypeAlias, cast

import duckdb
import numpy as np
import pyarrow as pa

from headwater.domain.errors import Unavailable
from headwater.domain.segment_table import SegmentFile, SegmentTable, VisibleSegments
from headwater.domain.stream import Counts
from headwater.lake import current
from headwater.lake.engine import BATCH, TEXT_HASH, Engine, Reads, task_names
from headwater.lake.hidden import hides
from headwater.lake.page_size import fewer, until_full

#: Runs a query about ``pairs``.
Answer: TypeAlias = Callable[[str], duckdb.DuckDBPyRelation]

#: Maximum number of ids that are compared at a time.
MOST_AT_ONCE = 500_000
#: Compared ids up to which queries name them.
MOST_NAMED = 1_000
#: Ids read for each document of a page, and the factor by which each further query reads more.
LOOK_AHEAD = 2
WIDER = 4


class Operation(StrEnum):
    """How a document differs between two views."""

    ADDED = "added"
    #: Another text is current.
    CHANGED = "changed"
    #: Another version is current, with the same text.
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    #: Another version is current, whatever its text.
    REPLACED = "replaced"
    #: The same version is current, though others were added or removed below it.
    UNAFFECTED = "unaffected"


@dataclass(frozen=True, kw_only=True)
class Moves:
    """How many documents have another current version than before; texts are not compared."""

    #: There was no current version before.
    added: int = 0
    #: Another version was current before.
    replaced: int = 0
    #: There is no current version after.
    removed: int = 0
    #: The same version is current, though others were added or removed below it.
    unaffected: int = 0


@dataclass(frozen=True, kw_only=True)
class Side:
    """A document in one of the views."""

    task: str
    text: str


@dataclass(frozen=True, kw_only=True)
class DiffRow:
    """One document in both views."""

    id: str
    before: Side | None
    after: Side | None


def text_of(row: DiffRow) -> int:
    """Return the size of both texts of a document, in characters."""
    return sum(len(side.text) for side in (row.before, row.after) if side is not None)


# A view sees a part up to a position: rows that only one view sees lie between two positions. ``sides`` are the parts
# that a view sees, with the positions, and ``changed`` those of which the views see different rows.
# Of parts beneath a floor with a scope that only one of them sees, all rows are compared.
_TOUCHED = """
    touched AS (
        SELECT v.doc_id, bool_or(v.pos >= least(s.before, s.after)) AS is_direct FROM rows_of(touched) v
        JOIN changed s USING (part)
        WHERE v.pos >= s.start AND v.pos < greatest(s.before, s.after)
        AND (v.doc_id > $lower OR $lower IS NULL) AND (v.doc_id <= $upper OR $upper IS NULL)
        GROUP BY v.doc_id
    )
"""

_RANKED = """
    {touched}
    SELECT v.doc_id, max(v.rank) FILTER (v.pos < v.before) AS a, max(v.rank) FILTER (v.pos < v.after) AS b
    FROM (
        SELECT r.doc_id, r.pos, s.before, s.after, s.layer << 32 | r.pos AS rank
        FROM rows_of(files) r JOIN sides s USING (part)
        WHERE (r.doc_id > $lower OR $lower IS NULL) AND (r.doc_id <= $upper OR $upper IS NULL) {among}
    ) v {semi_join}
    GROUP BY v.doc_id
"""

# The same, without the current versions that show nothing: only parts that may hold such are read for their texts.
_SHOWN = f"""
    WITH ranked AS MATERIALIZED ({_RANKED}),
    texts AS (
        SELECT r.doc_id, r.doc, s.layer << 32 | r.pos AS rank,
            r.pos < s.before AS is_before, r.pos < s.after AS is_after
        FROM rows_of(suspects) r JOIN sides s USING (part)
        WHERE s.is_suspect
        AND (r.doc_id > $lower OR $lower IS NULL) AND (r.doc_id <= $upper OR $upper IS NULL) {{among}}
    ),
    hidden AS MATERIALIZED (
        SELECT t.doc_id, bool_or(t.is_before AND t.rank = k.a AND ({{hides_before}})) AS before,
            bool_or(t.is_after AND t.rank = k.b AND ({{hides_after}})) AS after
        FROM texts t JOIN ranked k USING (doc_id) WHERE t.rank = k.a OR t.rank = k.b
        GROUP BY t.doc_id
    )
    SELECT k.doc_id, CASE WHEN NOT coalesce(h.before, false) THEN a END AS a,
        CASE WHEN NOT coalesce(h.after, false) THEN b END AS b
    FROM ranked k LEFT JOIN hidden h USING (doc_id)
"""

_MOVES = f"""
    WITH {_TOUCHED}
    SELECT count(*) FILTER (a IS NULL AND b IS NOT NULL), count(*) FILTER (a != b),
        count(*) FILTER (a IS NOT NULL AND b IS NULL), count(*) FILTER (a = b AND t.is_direct)
    FROM ({{ranked}}) JOIN touched t USING (doc_id)
"""

_WINDOW = f"""
    WITH {_TOUCHED}
    SELECT max(doc_id), count(*) FROM (SELECT doc_id FROM touched ORDER BY doc_id LIMIT $ids)
"""

_IDS = f"WITH {_TOUCHED} SELECT doc_id FROM touched"

_LAYERS = "SELECT DISTINCT {side} >> 32 FROM moved WHERE {side} IS NOT NULL"

# Each side's documents come from its own files: of one layer, an old and a merged segment may be on either side.
_DOCS = """
    {side}_docs AS (
        SELECT v.doc_id, s.task, v.* EXCLUDE (doc_id, part, pos), s.layer << 32 | v.pos AS rank
        FROM {kind}_of({side}_files) v JOIN sides s USING (part)
        WHERE s.{seen} > 0 AND v.doc_id >= $lowest AND v.doc_id <= $highest {among}
    )
"""
_PAIRS = """
    pairs AS (
        SELECT m.doc_id, m.a, m.b, a_docs.task AS before_task, {before} AS before, b_docs.task AS after_task,
            {after} AS after{text}
        FROM moved m
        LEFT JOIN a_docs ON a_docs.doc_id = m.doc_id AND a_docs.rank = m.a
        LEFT JOIN b_docs ON b_docs.doc_id = m.doc_id AND b_docs.rank = m.b
    )
"""
_HASHES = (TEXT_HASH.format(row="a_docs"), TEXT_HASH.format(row="b_docs"))


class Compared(StrEnum):
    """By what the two versions of a document are compared, and what is read of them."""

    #: By their texts, both of which are read.
    TEXTS = "texts"
    #: By hashes of them; only the text after is read. A folded file holds texts a hundred times as large as its hashes.
    TEXT_AFTER = "text after"
    #: By hashes; no text is read.
    HASHES = "hashes"


#: What is read of the files before and after, by what is compared, and the values that are.
_COMPARED = {
    Compared.TEXTS: ("rows", "rows", ("a_docs.doc", "b_docs.doc")),
    Compared.TEXT_AFTER: ("hashes", "all", _HASHES),
    Compared.HASHES: ("hashes", "hashes", _HASHES),
}
#: The columns of a result with texts.
_RESULT = {
    Compared.TEXTS: "doc_id, before_task, before, after_task, after",
    Compared.TEXT_AFTER: "doc_id, before_task, after_task, text AS after",
}

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


class Diff:
    """The diff of two views of a stream."""

    def __init__(self, engine: Engine, before: VisibleSegments, after: VisibleSegments) -> None:
        """Compare the views ``before`` and ``after``, both of the same table."""
        self._engine = engine
        table = before.table
        rows = np.union1d(before.rows, after.rows)
        # Rows for different periods of visibility may name the same part: one view sees one of them.
        parts, first, place = np.unique(table.part[rows], return_index=True, return_inverse=True)
        ends = [np.zeros(len(parts), np.int64) for _ in range(2)]
        for end, side in zip(ends, (before, after), strict=True):
            np.maximum.at(end, place, side.until[rows])
        layers = table.layer[rows[first]]
        # A document beneath a floor with a scope that only one of the views has may show in just one of them.
        floors = set(before.scoped_floors) ^ set(after.scoped_floors)
        is_beneath = layers < max((floor.layer for floor in floors), default=0)
        changed = (ends[0] != ends[1]) | is_beneath
        touched = rows[changed[place]]
        self._touched = table.visible(_mask(table, touched))
        lowest, highest = table.bounds(touched)
        # Files without any of the compared ids need not be opened.
        self._files = [
            file for file in table.visible(_mask(table, rows)).files if file.max_id >= lowest and file.min_id <= highest
        ]
        self._seen = (before, after)
        self._table = table
        hiding = (*before.scoped_floors, *after.scoped_floors)
        is_suspect = (table.deletions[rows[first]] > 0) | (layers < max((floor.layer for floor in hiding), default=0))
        suspects = {file.path for file in table.visible(_mask(table, rows[is_suspect[place]])).files}
        sides: dict[str, Any] = {
            "part": parts,
            "layer": layers,
            "before": ends[0],
            "after": ends[1],
            "start": np.where(is_beneath, 0, np.minimum(*ends)),
            "is_suspect": is_suspect,
            "task": task_names(table, rows[first]),
        }
        whole = cast("Any", pa).table(sides)
        self._tables = {"sides": whole, "changed": whole.filter(pa.array(changed))}
        self._reads = {"files": self._files, "touched": self._touched.files}
        self._suspects = [file for file in self._files if file.path in suspects]
        self._hides: list[str] = []
        self._hiding: dict[str, Any] = {}
        for side, name in ((before, "a"), (after, "b")):
            text, more = hides(side, rank="t.rank", doc="t.doc", prefix=f"{name}h")
            self._hides.append(text)
            self._hiding |= more
        #: The compared ids, once they are known, if they are few.
        self._named: list[str] | None = None
        self._docs = int(table.docs[touched].sum())
        self._size = int(table.bytes[touched].sum())

    def moves(self) -> Moves:
        """Return how many documents have another current version, by ranks alone."""
        if not self._touched:
            return Moves()
        with self._cursor() as cursor:
            among, values = self._among(cursor)
            ranked = _MOVES.format(ranked=self._ranked(among))
            row = self._run(cursor, ranked, {**_between(None, None), **values, **self._hidden_by()}).fetchall()[0]
        added, replaced, removed, unaffected = row
        return Moves(added=added, replaced=replaced, removed=removed, unaffected=unaffected)

    def counts(self) -> Counts:
        """Return the number of documents by operation; hashes of their texts are compared."""
        totals = [0, 0, 0, 0]
        for lower, upper in self._ranges():
            with self._moved(lower, upper, compared=Compared.HASHES) as answer:
                if answer is not None:
                    row = answer(_COUNTS).fetchall()[0]
                    totals = [total + more for total, more in zip(totals, row, strict=True)]
        added, changed, unchanged, removed = totals
        return Counts(added=added, changed=changed, unchanged=unchanged, removed=removed)

    def batches(
        self, operations: Sequence[Operation], *, compared: Compared = Compared.TEXTS
    ) -> Iterator[pa.RecordBatch]:
        """Yield the documents with one of the operations, in id order.

        Columns ``doc_id``, ``before_task``, ``before``, ``after_task`` and ``after``; null on a side without the
        document. There is no ``before`` if only the text after is read.
        """
        for lower, upper in self._ranges():
            yield from self._range(operations, lower, upper, compared=compared)

    def page(self, operation: Operation, *, after: str | None, limit: int) -> list[DiffRow]:
        """Return documents with an operation after the id ``after``, in id order, at most ``limit``.

        There are fewer if they are large (see ``page_size``).
        """
        return list(until_full(islice(self._after(operation, after, limit), limit), text_of)) if self._touched else []

    def _after(self, operation: Operation, after: str | None, limit: int) -> Iterator[DiffRow]:
        left, ids = limit, MOST_NAMED if self._docs <= MOST_NAMED else limit * LOOK_AHEAD
        while left > 0:
            with self._cursor() as cursor:
                bound, seen = self._run(cursor, _WINDOW, _between(after, None) | {"ids": ids}).fetchall()[0]
            if bound is None:
                break
            try:
                rows = list(self._rows(operation, after, bound))
            except Unavailable as error:
                ids = fewer(seen, error)
                continue
            yield from rows
            left -= len(rows)
            if seen < ids:
                break
            after, ids = bound, min(ids * WIDER, MOST_AT_ONCE)

    def _rows(self, operation: Operation, lower: str | None, upper: str | None) -> Iterator[DiffRow]:
        for batch in self._range([operation], lower, upper):
            yield from map(_row, batch.to_pylist())

    def _ranked(self, among: str) -> str:
        """Return the query for the ranks of the current versions of each compared id that show something."""
        # The compared ids need not be searched for if a condition names them.
        touched, semi_join = ("", "") if among else (f"WITH {_TOUCHED}", "SEMI JOIN touched USING (doc_id)")
        parts = {"among": among, "touched": touched, "semi_join": semi_join}
        if not self._suspects:
            return _RANKED.format(**parts)
        before, after = self._hides
        return _SHOWN.format(**parts, hides_before=before, hides_after=after)

    def _hidden_by(self) -> dict[str, Any]:
        """Return the parameters of that."""
        return self._hiding if self._suspects else {}

    def _cursor(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return self._engine.cursor(self._files, self._tables)

    def _run(
        self, cursor: duckdb.DuckDBPyConnection, query: str, values: Mapping[str, Any], reads: Reads | None = None
    ) -> duckdb.DuckDBPyRelation:
        every = {**self._reads, "suspects": self._suspects, **(reads or {})}
        return self._engine.select(cursor, query, values, reads=every)

    def _among(self, cursor: duckdb.DuckDBPyConnection) -> tuple[str, dict[str, Any]]:
        """Return a condition that names the compared ids if they are few, so that most row groups are not read."""
        if self._docs > MOST_NAMED:
            return "", {}
        if self._named is None:
            self._named = [doc_id for (doc_id,) in self._run(cursor, _IDS, _between(None, None)).fetchall()]
        if not self._named:
            return "", {}
        values = {f"id{place}": doc_id for place, doc_id in enumerate(self._named)}
        return f"AND doc_id IN ({', '.join(f'${name}' for name in values)})", values

    def _range(
        self,
        operations: Sequence[Operation],
        lower: str | None,
        upper: str | None,
        *,
        compared: Compared = Compared.TEXTS,
    ) -> Iterator[pa.RecordBatch]:
        wanted = " OR ".join(_IS[operation] for operation in operations)
        with self._moved(lower, upper, compared=compared) as answer:
            if answer is not None:
                found = answer(f"SELECT {_RESULT[compared]} FROM pairs WHERE {wanted} ORDER BY doc_id")
                yield from found.to_arrow_reader(BATCH)

    @contextmanager
    def _moved(self, lower: str | None, upper: str | None, *, compared: Compared) -> Generator[Answer | None]:
        """Create the table ``moved`` of the compared ids; yield a function that asks about ``pairs``; None if empty."""
        with self._cursor() as cursor:
            among, named = self._among(cursor)
            ranked = self._ranked(among)
            create = f"CREATE TEMP TABLE moved AS SELECT * FROM ({ranked}) WHERE a IS NOT NULL OR b IS NOT NULL"
            values = {**_between(lower, upper), **named, **self._hidden_by()}
            self._engine.execute(cursor, create, values, reads={**self._reads, "suspects": self._suspects})
            try:
                lowest, highest = cursor.execute("SELECT min(doc_id), max(doc_id) FROM moved").fetchall()[0]
                values = {"lowest": lowest, "highest": highest, **named}
                reads = {f"{side}_files": self._current_files(cursor, side) for side in "ab"}
                text = f"WITH {self._texts(compared, among)} "
                yield None if lowest is None else lambda query: self._run(cursor, text + query, values, reads)
            finally:
                cursor.execute("DROP TABLE moved")

    def _current_files(self, cursor: duckdb.DuckDBPyConnection, side: str) -> list[SegmentFile]:
        """Return the files with a current version of one side: no others are opened."""
        layers = [layer for (layer,) in cursor.execute(_LAYERS.format(side=side)).fetchall()]
        seen = self._seen["ab".index(side)]
        near = {file.path for file in self._files}
        return [file for file in seen.only(np.isin(self._table.layer, layers)).files if file.path in near]

    @staticmethod
    def _texts(compared: Compared, among: str) -> str:
        first, second, (before, after) = _COMPARED[compared]
        docs = [
            _DOCS.format(side=side, kind=kind, seen=seen, among=among)
            for side, kind, seen in (("a", first, "before"), ("b", second, "after"))
        ]
        text = ", b_docs.doc AS text" if compared is Compared.TEXT_AFTER else ""
        return ", ".join([*docs, _PAIRS.format(before=before, after=after, text=text)])

    def _ranges(self) -> list[tuple[str | None, str | None]]:
        if not self._touched:
            return []
        ranges = max(self._engine.ranges_for(2 * self._size), -(-self._docs // MOST_AT_ONCE))
        bounds = current.cut(self._engine, self._touched.files, ranges=ranges)
        return list(zip([None, *bounds], [*bounds, None], strict=True))


def _between(lower: str | None, upper: str | None) -> dict[str, Any]:
    return {"lower": lower, "upper": upper}


def _mask(table: SegmentTable, rows: Any) -> Any:
    mask = np.zeros(len(table), bool)
    mask[rows] = True
    return mask


def _row(row: dict[str, Any]) -> DiffRow:
    return DiffRow(
        id=row["doc_id"], before=_side(row["before_task"], row["before"]), after=_side(row["after_task"], row["after"])
    )


def _side(task: str | None, text: str | None) -> Side | None:
    return None if task is None or text is None else Side(task=task, text=text)
