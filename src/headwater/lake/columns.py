"""Documents as a table: which top-level fields occur in them, and what these hold.

A question about fields answers in one row a field, in the order in which they first occur in id order, so
that nothing grows with the stream; DuckDB may spill what it groups. Names are user data, so they are bound, as
JSON pointers.

How DuckDB reads a document:

- Fractions pass through a double, and are written anew in the fewest digits: 1.50 is 1.5, and 1E5 is 100000.0.
  Integers keep all their digits, however many there are.
- Nested values become compact JSON, members in their order.
- Of a name that stands twice in a document the last value counts, as it did when the document was taken.
  Within a nested value both remain.
- A document that is no JSON to DuckDB has no fields; it makes no question fail.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import accumulate
from typing import Any, cast

import numpy as np
import pyarrow as pa

from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.schema import json_pointer
from headwater.lake.engine import Engine, joined
from headwater.lake.winners import CURRENT

#: A table has so many columns at most,
MOST_COLUMNS = 2_000
#: and their names so many characters, all together.
LONGEST_NAMES = 1 << 20

_QUOTE = '"'


class Kind(StrEnum):
    """What a field holds, in all documents that have it; null goes with everything."""

    #: Integers that fit into 64 bits, signed.
    INTEGER = "integer"
    #: Numbers. Those that a double cannot hold are rounded, and beyond all doubles infinite.
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    #: Arrays or objects, or values of several kinds. All are JSON text, strings in their quotes as well.
    JSON = "json"
    #: Nothing but null.
    NOTHING = "nothing"


#: The kind of the values that are of these types to DuckDB.
_KINDS = {
    frozenset[str](): Kind.NOTHING,
    frozenset({"UBIGINT"}): Kind.INTEGER,
    frozenset({"BIGINT"}): Kind.INTEGER,
    frozenset({"BIGINT", "UBIGINT"}): Kind.INTEGER,
    frozenset({"DOUBLE"}): Kind.NUMBER,
    frozenset({"DOUBLE", "UBIGINT"}): Kind.NUMBER,
    frozenset({"DOUBLE", "BIGINT"}): Kind.NUMBER,
    frozenset({"DOUBLE", "BIGINT", "UBIGINT"}): Kind.NUMBER,
    frozenset({"BOOLEAN"}): Kind.BOOLEAN,
    frozenset({"VARCHAR"}): Kind.TEXT,
}

# Grouped by shape first, since there are few, and only then by field.
_FIELDS = """
    WITH {current},
    shapes AS (
        SELECT TRY(json_keys(doc)) AS names, {types} AS types, min(doc_id) AS first FROM current
        GROUP BY names, types
    ),
    fields AS (
        SELECT unnest(names) AS name, unnest(types) AS type, unnest(range(1, len(names) + 1)) AS place, first, twice
        FROM (SELECT *, len(list_distinct(names)) < len(names) AS twice FROM shapes)
    )
    SELECT name, list(DISTINCT type) FILTER (type IS NOT NULL AND type <> 'NULL') AS types, bool_or(twice) AS twice
    FROM fields GROUP BY name ORDER BY min((first, place))
"""

# To DuckDB an integer is a DOUBLE from 65 bits on. One of 64 bits does not fit either, but to look for it
# costs much, and few documents have so many digits anywhere.
_TYPES = """
    CASE
        WHEN regexp_matches(doc, '[0-9]{19}') THEN list_transform(
            TRY(json_extract(doc, '$.*')),
            lambda one: CASE
                WHEN json_type(one) = 'UBIGINT' AND TRY_CAST(one AS BIGINT) IS NULL THEN 'DOUBLE'
                ELSE json_type(one)
            END
        )
        ELSE TRY(json_type(doc, '$.*'))
    END
"""

#: Asks for the names of fields, for ``Columns.add``.
NAMES = _FIELDS.format(current=CURRENT, types="NULL::VARCHAR[]")
#: Asks for the names of fields and the types of their values, for ``Columns.add``.
TYPES = _FIELDS.format(current=CURRENT, types=_TYPES)

#: Asks for the documents in id order, ``doc_id``, ``task``, and ``doc`` without its line end.
TEXTS = f"WITH {CURRENT} SELECT doc_id, task, left(doc, -1) AS doc FROM current ORDER BY doc_id"

# What documents hold is asked of batches of them that are in order already: a row of many columns takes much
# more memory than its text, and all rows of a range would be sorted at once.
#: So many cells are held at a time.
CELLS = 1 << 19

# DuckDB takes the first of the members with one name, so they are turned about. A TRY around lambdas does not
# catch what fails among their arguments.
_TURNED = """
    '{' || array_to_string(
        list_transform(
            list_reverse(list_zip(TRY(json_keys(doc)), TRY(json_extract(doc, '$.*')))),
            lambda member: to_json(member[1])::VARCHAR || ':' || member[2]::VARCHAR
        ),
        ','
    ) || '}'
"""

# contains() five times is faster than one regular expression.
_LINES = """
    SELECT coalesce(
        array_to_string(
            list_transform(
                TRY(json_extract_string({doc}, $pointers)),
                lambda text: CASE
                    WHEN text IS NULL THEN $absent
                    WHEN text = '' OR contains(text, ',') OR contains(text, '"')
                        OR contains(text, chr(10)) OR contains(text, chr(13))
                        THEN '"' || replace(text, '"', '""') || '"'
                    ELSE text
                END
            ),
            ','
        ),
        $blank
    ) || chr(13) || chr(10) AS line
    FROM held ORDER BY place
"""

# One list for each of _LISTED: a thousand columns would take DuckDB a second to plan. Each list is of the
# same length in all rows. A string that reads null has quotes as JSON.
_VALUES = """
    SELECT
        TRY_CAST(scalars[1:$integers] AS BIGINT[]),
        TRY_CAST(scalars[$integers + 1:$numbers] AS DOUBLE[]),
        TRY_CAST(scalars[$numbers + 1:$booleans] AS BOOLEAN[]),
        scalars[$booleans + 1:],
        list_transform(jsons, lambda one: nullif(one::VARCHAR, 'null'))
    FROM (
        SELECT place,
            CASE WHEN len($scalars) = 0 THEN [] ELSE coalesce(
                TRY(json_extract_string({doc}, $scalars::VARCHAR[])), list_transform($scalars, lambda one: NULL)
            ) END AS scalars,
            CASE WHEN len($jsons) = 0 THEN [] ELSE coalesce(
                TRY(json_extract({doc}, $jsons::VARCHAR[])), list_transform($jsons, lambda one: NULL)
            ) END AS jsons
        FROM held
    )
    ORDER BY place
"""
_SCALARS = (Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN, Kind.TEXT)
_LISTED = (*_SCALARS, Kind.JSON)


class Columns:
    """The top-level fields of documents, as answers to ``NAMES`` or ``TYPES`` tell of them, range after range."""

    def __init__(self) -> None:
        """Know of none."""
        self._types: dict[str, set[str]] = {}
        self._length = 0
        #: Whether any document has a name twice.
        self.has_twins = False

    @property
    def names(self) -> list[str]:
        """The names, in the order in which they first occur."""
        return list(self._types)

    @property
    def kinds(self) -> list[Kind]:
        """What each holds, as ``TYPES`` told."""
        return [_KINDS.get(frozenset(types), Kind.JSON) for types in self._types.values()]

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in a part of an answer.

        Raises:
            RequestInvalid: these are more fields than a table can have as columns.
        """
        for row in cast("Any", batch).to_pylist():
            name: str = row["name"]
            if name not in self._types:
                self._length += len(name)
                self._types[name] = set()
                self._check()
            self._types[name].update(row["types"] or ())
            self.has_twins |= row["twice"]

    def _check(self) -> None:
        if len(self._types) > MOST_COLUMNS or self._length > LONGEST_NAMES:
            detail = (
                f"the documents have more top-level fields than the {MOST_COLUMNS:,} columns"
                if len(self._types) > MOST_COLUMNS
                else f"the names of the documents' top-level fields are longer than the {LONGEST_NAMES:,} characters"
            )
            detail += " that a table can have; export them as NDJSON, with format=ndjson"
            raise RequestInvalid(detail, flaws=[Flaw(pointer="?format", detail=detail)])


def csv_cell(text: str) -> str:
    """Return a text as a cell of CSV (RFC 4180), in quotes if it needs them."""
    return f'"{text.replace(_QUOTE, _QUOTE * 2)}"' if not text or any(map(text.__contains__, ',"\n\r')) else text


def csv_lines(engine: Engine, columns: Columns, batch: pa.RecordBatch) -> bytes:
    """Return the documents of a batch, its ``doc``, as lines of CSV with a cell for each of the columns.

    Absent fields and null are empty, an empty string is ``""``. Of a single column an absent value is ``""``
    as well: readers pass over an empty line.
    """
    count = len(columns.names)
    absent = '""' if count == 1 else ""
    values = {"pointers": _pointers(columns.names), "absent": absent, "blank": ",".join([absent] * count)}
    answers = _ask(engine, _LINES, columns, batch, values)
    return b"".join(joined(chunk) for _, answer in answers for chunk in answer.column("line").chunks)


def typed(engine: Engine, columns: Columns, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield a batch in parts, behind its columns what its documents, ``doc``, hold in each field, as its kind."""
    names: dict[Kind, list[str]] = {kind: [] for kind in Kind}
    for name, kind in zip(columns.names, columns.kinds, strict=True):
        names[kind].append(name)
    ends = list(accumulate(len(names[kind]) for kind in _SCALARS))
    values = {
        "scalars": _pointers([name for kind in _SCALARS for name in names[kind]]),
        "jsons": _pointers(names[Kind.JSON]),
        "integers": ends[0],
        "numbers": ends[1],
        "booleans": ends[2],
    }
    for part, answer in _ask(engine, _VALUES, columns, batch, values):
        cells: dict[str, Any] = dict.fromkeys(columns.names, pa.nulls(part.num_rows, pa.string()))
        for kind, lists in zip(_LISTED, answer.columns, strict=True):
            cells.update(zip(names[kind], _transposed(lists, len(names[kind])), strict=True))
        places = [f"c{place}" for place in range(len(cells))]
        yield cast("Any", pa.RecordBatch).from_arrays(
            [*part.columns, *cells.values()], names=[*part.schema.names, *places]
        )


def _ask(
    engine: Engine, question: str, columns: Columns, batch: pa.RecordBatch, values: dict[str, Any]
) -> Iterator[tuple[Any, Any]]:
    """Yield a batch in parts whose cells fit into memory, each with the answer for its documents, a table."""
    query = question.format(doc=f"({_TURNED})" if columns.has_twins else "doc")
    rows = max(1, CELLS // max(1, len(columns.names)))
    for start in range(0, batch.num_rows, rows):
        part = cast("Any", batch).slice(start, rows)
        held = cast("Any", pa).table({"place": np.arange(part.num_rows), "doc": part.column("doc")})
        with engine.cursor() as cursor:
            cursor.register("held", held)
            answer = cursor.sql(query, params=values).to_arrow_table()
        yield part, answer


def _transposed(lists: Any, length: int) -> list[Any]:
    """Return the columns of a table that is given as its rows, lists of one length."""
    cells = pa.concat_arrays([chunk.flatten() for chunk in lists.chunks])
    return [cells.take(cast("Any", np.arange(place, len(cells), length))) for place in range(length)]


def _pointers(names: Sequence[str]) -> list[str]:
    return [json_pointer([name]) for name in names]
