"""Merges segments of one attempt."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.segment_table import SegmentFile, all_of
from headwater.domain.stream import Segment, WrittenSegment
from headwater.lake import current
from headwater.lake.engine import Engine, size_of
from headwater.lake.scan import batches_of
from headwater.lake.segment import SegmentWriter, sorted_row_group
from headwater.lake.segment_format import SCHEMA, Origin
from headwater.lake.store import Store

# Of rows that became visible at the same version, only the last version of each id is kept; rows that became
# visible at different versions are kept for reads at earlier versions of the stream.
_MERGED = """
    WITH moved AS (
        SELECT v.doc_id, v.pos + s.shift AS pos, v.doc,
            CASE WHEN s.together < 0 THEN -1 - s.shift - v.pos ELSE s.together END AS together
        FROM rows_of(files) v JOIN (
            SELECT unnest($parts)::BIGINT AS part, unnest($shifts)::BIGINT AS shift,
                unnest($together)::BIGINT AS together
        ) s USING (part)
        WHERE (v.doc_id > $after OR $after IS NULL) AND (v.doc_id <= $bound OR $bound IS NULL)
    )
    SELECT doc_id, pos, doc FROM moved
    WHERE pos IN (SELECT max(pos) FROM moved GROUP BY doc_id, together)
    ORDER BY doc_id, pos
"""


def merge(
    engine: Engine,
    store: Store,
    segments: Sequence[Segment],
    path: str,
    *,
    staged_as: str,
    origin: Origin | None = None,
) -> WrittenSegment:
    """Write segments of one attempt, given in order of arrival, as one file in id order.

    It is on disk when this returns.

    Raises:
        SegmentDamaged: one of them is damaged; nothing is written then.
    """
    engine.require_intact(all_of(segments).files)
    size = sum(segment.bytes for segment in segments)
    row_group = sorted_row_group(size)
    writer = SegmentWriter(store, path, staged_as=staged_as, row_group_bytes=row_group, origin=origin)
    return _written(writer, _in_order(engine, segments, size=size, row_group=row_group))


def concatenate(
    engine: Engine,
    store: Store,
    segments: Sequence[Segment],
    path: str,
    *,
    staged_as: str,
    origin: Origin | None = None,
) -> WrittenSegment:
    """Write segments of one attempt, given in order of arrival, as one file, concatenated.

    This takes a quarter of the work of ``merge``: it is used while more uploads arrive, and ``merge`` at the end. The
    file is on disk when this returns.

    Raises:
        SegmentDamaged: one of them is damaged; nothing is written then.
    """
    engine.require_intact(all_of(segments).files)
    writer = SegmentWriter(store, path, staged_as=staged_as, origin=origin)
    return _written(writer, _one_behind_the_other(engine, segments))


#: Rows, and the size of their documents.
_Rows = tuple[pa.RecordBatch, int]


def _written(writer: SegmentWriter, batches: Iterable[_Rows]) -> WrittenSegment:
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
    seen = all_of(segments)
    bounds = current.cut(engine, seen.files, ranges=engine.ranges_for(size))
    values: dict[str, Any] = {
        "parts": seen.table.part.tolist(),
        "shifts": [segment.base - segments[0].base for segment in segments],
        "together": [together(segment) for segment in segments],
    }
    for after, bound in zip([None, *bounds], [*bounds, None], strict=True):
        asked = values | {"after": after, "bound": bound}
        for batch in engine.batches(_MERGED, asked, reads={"files": seen.files}):
            yield from _parts(batch, row_group)


def _one_behind_the_other(engine: Engine, segments: Sequence[Segment]) -> Iterator[_Rows]:
    first = segments[0].base
    files = {file.path: file for file in all_of(segments).files}
    for is_inlined, run in groupby(segments, lambda segment: segment.is_inlined):
        if is_inlined:
            yield _together_moved(engine, list(run), files, first)
            continue
        for segment in run:
            for rows in batches_of(engine, files[segment.path]):
                yield _moved(rows, segment.base - first)


def _together_moved(engine: Engine, run: Sequence[Segment], files: Mapping[str, SegmentFile], first: int) -> _Rows:
    """Return the rows of small segments as one batch: processed one by one they take three times as long."""
    batches = engine.inlined_rows([files[segment.path] for segment in run])
    shifts = np.repeat([segment.base - first for segment in run], [batch.num_rows for batch in batches])
    return _moved(cast("Any", pa).concat_batches(batches), pa.array(shifts))


def _moved(batch: pa.RecordBatch, by: Any) -> _Rows:
    """Return rows with their positions shifted, and the size of their documents."""
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


def together(segment: Segment) -> int:
    """Return the version that published a segment; -1 if its documents may have different ones."""
    return -1 if segment.whole_version is not None else segment.added_version or 0
