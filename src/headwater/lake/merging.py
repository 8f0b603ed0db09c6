"""Segments of one attempt, merged into one."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.stream import Segment, Written
from headwater.lake import winners
from headwater.lake.engine import Engine, size_of
from headwater.lake.inlining import batches_of
from headwater.lake.segment import SCHEMA, SegmentWriter, sorted_row_group
from headwater.lake.store import LocalStore

# Of what showed together, from the same version on, only the last version of each id is kept; what
# showed at versions of its own is kept for those who ask how the stream was then.
_MERGED = """
    WITH moved AS (
        SELECT v.doc_id, v.pos + s.shift AS pos, v.doc,
            CASE WHEN s.together < 0 THEN -1 - s.shift - v.pos ELSE s.together END AS together
        FROM rows_of($files) v
        JOIN (
            SELECT unnest($files) AS filename, unnest($shifts)::BIGINT AS shift, unnest($together)::BIGINT AS together
        ) s USING (filename)
        WHERE (v.doc_id > $after OR $after IS NULL) AND (v.doc_id <= $bound OR $bound IS NULL)
    )
    SELECT doc_id, pos, doc FROM moved
    WHERE pos IN (SELECT max(pos) FROM moved GROUP BY doc_id, together)
    ORDER BY doc_id, pos
"""


def merge(engine: Engine, store: LocalStore, segments: Sequence[Segment], path: str, *, staged_as: str) -> Written:
    """Write segments of one attempt, given in order of arrival, as one file in order of ids.

    It is on disk when this returns.
    """
    size = sum(segment.bytes for segment in segments)
    row_group = sorted_row_group(size)
    writer = SegmentWriter(store, path, staged_as=staged_as, row_group_bytes=row_group)
    return _written(writer, _in_order(engine, segments, size=size, row_group=row_group))


def concatenate(
    engine: Engine, store: LocalStore, segments: Sequence[Segment], path: str, *, staged_as: str
) -> Written:
    """Write segments of one attempt, given in order of arrival, as one file, one behind the other.

    For a quarter of the work: so it is done while more come, and in order of ids in the end. It is on
    disk when this returns.
    """
    return _written(SegmentWriter(store, path, staged_as=staged_as), _one_behind_the_other(engine, store, segments))


#: Rows, and the size of their documents.
_Rows = tuple[pa.RecordBatch, int]


def _written(writer: SegmentWriter, batches: Iterable[_Rows]) -> Written:
    try:
        for batch, size in batches:
            writer.add(batch, size=size)
        written = writer.finish()
    except BaseException:
        writer.discard()
        raise
    if written is None:
        raise ValueError("segments without documents cannot be merged")
    return written


def _in_order(engine: Engine, segments: Sequence[Segment], *, size: int, row_group: int) -> Iterator[_Rows]:
    bounds = winners.cut(engine, segments, ranges=engine.ranges_for(size))
    values: dict[str, Any] = {
        "files": engine.files(segments),
        "shifts": [segment.base - segments[0].base for segment in segments],
        "together": _together(segments),
    }
    for after, bound in zip([None, *bounds], [*bounds, None], strict=True):
        for batch in engine.batches(_MERGED, values | {"after": after, "bound": bound}):
            yield from _parts(batch, row_group)


def _one_behind_the_other(engine: Engine, store: LocalStore, segments: Sequence[Segment]) -> Iterator[_Rows]:
    first = segments[0].base
    for is_inlined, run in groupby(segments, lambda segment: segment.is_inlined):
        if is_inlined:
            yield _together_moved(engine, list(run), first)
            continue
        for segment in run:
            for rows in batches_of(store, engine.inlined, segment):
                yield _moved(rows, segment.base - first)


def _together_moved(engine: Engine, run: Sequence[Segment], first: int) -> _Rows:
    """Return the rows of small segments as one batch: one at a time they take three times as long."""
    batches = engine.inlined.batches([segment.path for segment in run])
    shifts = np.repeat([segment.base - first for segment in run], [batch.num_rows for batch in batches])
    return _moved(cast("Any", pa).concat_batches(batches), pa.array(shifts))


def _moved(batch: pa.RecordBatch, by: Any) -> _Rows:
    """Return rows with their places moved on, and the size of their documents."""
    columns = cast("Any", batch)
    places, texts = cast("Any", pc).add(columns.column("pos"), by), columns.column("doc")
    moved = cast("Any", pa).record_batch([columns.column("doc_id"), places, texts], schema=SCHEMA)
    return moved, size_of(texts)


def _parts(batch: pa.RecordBatch, row_group: int) -> Iterator[_Rows]:
    """Yield a batch in parts of about a row group, however large its documents are."""
    texts = cast("Any", batch).column("doc")
    parts = max(1, -(-texts.nbytes // row_group))
    rows = max(1, -(-batch.num_rows // parts))
    for start in range(0, batch.num_rows, rows):
        part = cast("Any", batch).slice(start, rows)
        yield part, size_of(part.column("doc"))


def _together(segments: Sequence[Segment]) -> list[int]:
    """Number the segments by the version that showed them; -1 where each document may have one of its own."""
    return [-1 if segment.whole_version is not None else segment.added_version or 0 for segment in segments]
