"""Documents as CSV: the top-level fields that occur in them, and a line of cells for each.

The query for fields returns one row for each field, in the order of first occurrence by id, so that memory does
not grow with the stream; DuckDB may spill its grouping.

How DuckDB reads a document:

- Fractions pass through a double, and are written with the fewest digits: 1.50 is 1.5, and 1E5 is 100000.0.
  Integers keep all their digits, however many there are.
- Nested values become compact JSON, with members in their order.
- If a name occurs twice in a document, the last value counts, as it did when the document was uploaded.
  Within a nested value both remain.
- A document that is not JSON to DuckDB has no fields; it makes no query fail.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.errors import Flaw, RequestInvalid
from headwater.lake.current import current
from headwater.lake.engine import Engine, joined

#: Maximum number of columns of a table,
MOST_COLUMNS = 2_000
#: and maximum number of characters of all their names.
LONGEST_NAMES = 1 << 20

#: First characters of texts that a spreadsheet would run as formulas, ASCII and fullwidth (OWASP, CSV
#: injection).
FORMULAS = "=+-@\t\r\uff1d\uff0b\uff0d\uff20"

# Any: the type stubs are incomplete.
_compute = cast("Any", pc)
_QUOTE = '"'
# A title with one of these is quoted, so that no reader takes it for another delimiter.
_TELLING = ',"\n\r;\t|'

# Grouped by shape first, since there are few shapes, and only then by field.
_NAMES = """
    WITH {current},
    shapes AS (SELECT TRY(json_keys(doc)) AS names, min(doc_id) AS first FROM current GROUP BY names),
    fields AS (SELECT unnest(names) AS name, unnest(range(1, len(names) + 1)) AS place, first FROM shapes)
    SELECT name FROM fields GROUP BY name ORDER BY min((first, place))
"""

_TEXTS = "WITH {current} SELECT doc_id, task, left(doc, -1) AS doc FROM current ORDER BY doc_id"


def names_of(condition: str | None = None) -> str:
    """Return the query for the names of fields, for ``Columns.add``."""
    return _NAMES.format(current=current(condition))


def texts_of(condition: str | None = None) -> str:
    """Return the query for documents in id order: ``doc_id``, ``task``, and ``doc`` without its newline."""
    return _TEXTS.format(current=current(condition))


# Cells are extracted from batches that are already sorted: a row of many columns takes much more memory than
# its text, and all rows of a range would be sorted at once.
#: Maximum number of cells held at a time.
CELLS = 1 << 19

# All members of a document in one pass, placed by name afterwards: looking up each column by its name would take
# time that grows with the square of their number. Five contains() are faster than one regular expression.
_MEMBERS = """
    SELECT
        coalesce(TRY(json_keys(doc)), []) AS names,
        list_transform(
            {texts},
            lambda text: CASE
                WHEN text = '' OR contains(text, ',') OR contains(text, '"')
                    OR contains(text, chr(10)) OR contains(text, chr(13))
                    THEN '"' || replace(text, '"', '""') || '"'
                ELSE text
            END
        ) AS cells
    FROM held ORDER BY place
"""
_PLAIN = "coalesce(TRY(json_extract_string(doc, '$.*')), [])"
_DEFUSED = f"""
    list_transform(
        list_zip({_PLAIN}, coalesce(TRY(json_type(doc, '$.*')), [])),
        lambda one: CASE
            WHEN one[2] = 'VARCHAR' AND one[1] <> '' AND contains($formulas, left(one[1], 1)) THEN chr(39) || one[1]
            ELSE one[1]
        END
    )
"""


class Columns:
    """The top-level fields of documents, collected from results of ``names_of``, range by range."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """Begin with these names."""
        self._names = dict.fromkeys(names)
        self._length = sum(map(len, self._names))
        self._check()

    @property
    def names(self) -> list[str]:
        """The names, in the order of first occurrence."""
        return list(self._names)

    def add(self, names: Sequence[str]) -> None:
        """Add fields of further documents.

        Raises:
            RequestInvalid: there are more fields than a table can have columns.
        """
        for name in names:
            if name not in self._names:
                self._length += len(name)
                self._names[name] = None
                self._check()

    def _check(self) -> None:
        if len(self._names) > MOST_COLUMNS or self._length > LONGEST_NAMES:
            detail = (
                f"the documents have more top-level fields than the {MOST_COLUMNS:,} columns"
                if len(self._names) > MOST_COLUMNS
                else f"the names of the documents' top-level fields are longer than the {LONGEST_NAMES:,} characters"
            )
            detail += " that a table can have; choose some with fields=, or export them as NDJSON, with format=ndjson"
            raise RequestInvalid(detail, flaws=[Flaw(pointer="?format", detail=detail)])


def csv_header(names: Sequence[str], *, is_defused: bool = False) -> bytes:
    """Return the header line of CSV (RFC 4180)."""
    titles = [f"'{name}" if is_defused and name and name[0] in FORMULAS else name for name in names]
    return (",".join(map(_title, titles)) + "\r\n").encode()


def _title(name: str) -> str:
    """Return a title, quoted if a reader would misinterpret it otherwise."""
    is_plain = name and name == name.strip().lstrip("\ufeff") and not any(map(name.__contains__, _TELLING))
    return name if is_plain and not name.lower().startswith("sep=") else f'"{name.replace(_QUOTE, _QUOTE * 2)}"'


def csv_lines(engine: Engine, columns: Columns, batch: pa.RecordBatch, *, is_defused: bool = False) -> bytes:
    """Return the documents of a batch, its ``doc``, as lines of CSV with a cell for each of the columns.

    Absent fields and null are empty, an empty string is ``""``. With a single column an absent value is ``""``
    as well: readers skip an empty line. With ``is_defused`` a text that a spreadsheet would run as a formula
    begins with an apostrophe.
    """
    names = cast("Any", pa).array(columns.names, pa.string())
    query = _MEMBERS.format(texts=_DEFUSED if is_defused else _PLAIN)
    values = {"formulas": FORMULAS} if is_defused else {}
    rows = max(1, CELLS // max(1, len(names)))
    found: list[bytes] = []
    for start in range(0, batch.num_rows, rows):
        part = cast("Any", batch).slice(start, rows)
        held = cast("Any", pa).table({"place": np.arange(part.num_rows), "doc": part.column("doc")})
        with engine.cursor() as cursor:
            cursor.register("held", held)
            answer = cursor.sql(query, params=values).to_arrow_table()
        found.append(_lines(answer, names))
    return b"".join(found)


def _lines(members: Any, names: Any) -> bytes:
    """Return lines from the members of documents, two columns of lists: their names, and their cells."""
    given, cells = (_flat(members.column(place)) for place in (0, 1))
    count, width = members.num_rows, len(names)
    lengths: np.ndarray[Any, Any] = np.asarray(_compute.list_value_length(members.column(0)))
    columns: np.ndarray[Any, Any] = np.asarray(_compute.fill_null(_compute.index_in(given, value_set=names), -1))
    wanted = columns >= 0
    rows: np.ndarray[Any, Any] = np.repeat(cast("Any", np.arange(count)), lengths)
    places = rows[wanted] * width + columns[wanted]
    # Of members with one name the last is taken: for repeated indices, numpy assigns the last value.
    taken = np.full(count * width, -1)
    taken[places] = np.flatnonzero(wanted)
    table = cells.take(cast("Any", pa).array(taken, mask=taken < 0))
    table = _compute.fill_null(table, '""' if width == 1 else "")
    offsets = cast("Any", pa).array(np.arange(0, count * width + 1, width), pa.int32())
    lines = _compute.binary_join(cast("Any", pa).ListArray.from_arrays(offsets, table), ",")
    return joined(_compute.binary_join_element_wise(lines, "", "\r\n"))


def _flat(lists: Any) -> Any:
    return cast("Any", pa).concat_arrays([chunk.flatten() for chunk in lists.chunks])
