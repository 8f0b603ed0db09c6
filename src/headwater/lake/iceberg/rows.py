"""Which rows of a stream's files are current, as positions in the files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.domain.segment_table import SegmentFile, VisibleSegments
from headwater.lake import current
from headwater.lake.engine import Engine, seen_table, task_names
from headwater.lake.hidden import hides
from headwater.lake.iceberg.schema import ARROW

#: Bytes of memory for each id that is compared, about.
_BYTES_PER_ID = 128
#: Ids in a sample, about, if there are so many.
_SAMPLED = 1 << 16

_FILES = """
    SELECT r.doc_id, {part} AS part, r.pos, n.place, r.file_row_number AS row{doc}
    FROM read_parquet($locations_{name}, filename = true, file_row_number = true, hive_partitioning = false) r
    JOIN (
        SELECT unnest($locations_{name}) AS filename, unnest($places_{name})::BIGINT AS place,
            unnest($parts_{name})::BIGINT AS part
    ) n USING (filename)
"""
_INLINED = "SELECT doc_id, part, pos, -1::BIGINT AS place, row{doc} FROM small"
_CURRENT = """
    WITH between AS (
        SELECT v.place, v.row, v.doc_id, s.layer << 32 | v.pos AS rank{doc}
        FROM ({rows}) v JOIN seen s USING (part)
        WHERE v.pos < s.until AND (v.doc_id > $after OR $after IS NULL) AND (v.doc_id <= $bound OR $bound IS NULL)
    )
    SELECT place, row, CASE WHEN hash(doc_id) % $every = 0 THEN doc_id END AS sampled
    FROM between WHERE rank IN (SELECT max(rank) FROM between GROUP BY doc_id){shows}
"""


@dataclass(frozen=True, kw_only=True)
class CurrentRows:
    """The current rows of a view."""

    #: The files that hold some, with one flag for each of their rows: whether it is current.
    files: list[tuple[SegmentFile, "NDArray[np.bool_]"]]
    #: The current rows of inlined segments, with the columns of the table; None if there are none.
    inlined: pa.Table | None
    #: The ids of the current documents in order: all, or of many a sample.
    sample: list[str]

    @property
    def docs(self) -> int:
        """The number of current documents."""
        inlined = 0 if self.inlined is None else self.inlined.num_rows
        return inlined + sum(int(np.count_nonzero(flags)) for _, flags in self.files)


def current_rows(engine: Engine, seen: VisibleSegments) -> CurrentRows:
    """Return the current rows of a view.

    Raises:
        SegmentDamaged: a file is damaged.
        Unavailable: there is not enough memory.
    """
    if not seen:
        return CurrentRows(files=[], inlined=None, sample=[])
    files = [file for file in seen.files if not file.is_inlined]
    with engine.explaining(files):  # all at once, and held: their locations are told to the query below
        return _current_rows(engine, seen, files)


def _current_rows(engine: Engine, seen: VisibleSegments, files: list[SegmentFile]) -> CurrentRows:
    inlined = [file for file in seen.files if file.is_inlined]
    flags = [np.zeros(rows_in(engine, file), bool) for file in files]
    small = _small(engine, inlined)
    query, values = _query(engine, seen, files, has_inlined=bool(inlined))
    tables = {"seen": seen_table(seen)} | ({} if small is None else {"small": small})
    is_shown = np.zeros(0 if small is None else small.num_rows, bool)
    sample: list[str] = []
    values["every"] = max(1, sum(file.docs for file in seen.files) // _SAMPLED)
    ranges = engine.ranges_for(sum(file.docs for file in seen.files) * _BYTES_PER_ID)
    bounds = current.cut(engine, seen.files, ranges=ranges)
    for after, bound in zip([None, *bounds], [*bounds, None], strict=True):
        with engine.cursor(files, tables) as cursor:
            asked = {**values, "after": after, "bound": bound}
            for batch in cursor.sql(query, params=asked).to_arrow_reader(1 << 16):
                place, row = (np.asarray(column) for column in batch.columns[:2])
                for one in np.unique(place):
                    (is_shown if one < 0 else flags[one])[row[place == one]] = True
                sample += batch.columns[2].drop_null().to_pylist()
    return CurrentRows(
        files=[(file, shown) for file, shown in zip(files, flags, strict=True) if shown.any()],
        inlined=None if small is None or not is_shown.any() else _columns(small, is_shown, seen),
        sample=sorted(sample),
    )


def rows_in(engine: Engine, file: SegmentFile) -> int:
    """Return the number of rows in a file, of purged segments too."""
    with engine.explaining([file]):
        metadata: Any = engine.footers.of(file.path, is_folded=file.is_folded).metadata
        return int(metadata.num_rows)


def _query(
    engine: Engine, seen: VisibleSegments, files: Sequence[SegmentFile], *, has_inlined: bool
) -> tuple[str, dict[str, Any]]:
    """Return the query for the current rows of files and of the table ``small``.

    Texts are read only where some of them may show nothing.
    """
    hidden, values = hides(seen)
    doc, shows = (", doc", f" AND NOT ({hidden})") if seen.hides else ("", "")
    rows: list[str] = []
    for name, part, is_folded in (("folded", "r.part", True), ("plain", "n.part", False)):
        some = [(place, file) for place, file in enumerate(files) if file.is_folded is is_folded]
        if some:
            values[f"locations_{name}"] = [engine.location(file) for _, file in some]
            values[f"places_{name}"] = [place for place, _ in some]
            values[f"parts_{name}"] = [file.part for _, file in some]
            rows.append(_FILES.format(name=name, part=part, doc=doc))
    if has_inlined:
        rows.append(_INLINED.format(doc=doc))
    return _CURRENT.format(rows=" UNION ALL ".join(rows), doc=doc, shows=shows), values


def _small(engine: Engine, inlined: Sequence[SegmentFile]) -> pa.Table | None:
    """Return the rows of inlined segments, numbered."""
    if not inlined:
        return None
    with engine.explaining(inlined):
        table: Any = engine.inlined.table(inlined)
    return table.append_column("row", pa.array(np.arange(int(table.num_rows))))


def _columns(small: Any, is_shown: "NDArray[np.bool_]", seen: VisibleSegments) -> pa.Table:
    shown = small.filter(pa.array(is_shown))
    rows: Any = seen.rows
    tasks: dict[int, str] = dict(
        zip(seen.table.part[rows].tolist(), task_names(seen.table, rows).to_pylist(), strict=True)
    )
    names = [tasks[part] for part in shown.column("part").to_pylist()]
    columns = [shown.column("doc_id"), pa.array(names, pa.string()), shown.column("doc")]
    return cast("Any", pa).table(columns, schema=ARROW)
