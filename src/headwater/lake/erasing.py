"""A segment's file, written anew without one document."""

from typing import Any, cast

import pyarrow.compute as pc
import pyarrow.parquet as pq

from headwater.domain.stream import Segment, Written
from headwater.lake.engine import joined
from headwater.lake.segment import SegmentWriter, sorted_row_group
from headwater.lake.store import LocalStore

#: Rows that are read at a time: about so many bytes of documents, and no more than so many.
_BYTES = 8 << 20
_ROWS = 8192


def write_without(store: LocalStore, segment: Segment, doc_id: str, to: str, *, staged_as: str) -> Written | None:
    """Write the rows of a segment's file that are not of a document, in their order; None if none is left."""
    rows = max(1, min(_ROWS, _BYTES * segment.docs // max(1, segment.bytes)))
    row_group = sorted_row_group(segment.bytes)
    writer = SegmentWriter(store, to, staged_as=staged_as, row_group_bytes=row_group)
    try:
        with pq.ParquetFile(store.locate(segment.path)) as file:
            for batch in cast("Any", file).iter_batches(rows):
                others = cast("Any", pc).not_equal(batch.column("doc_id"), doc_id)
                kept = batch.filter(others)
                if kept.num_rows:
                    writer.add(kept, size=len(joined(kept.column("doc"))))
        return writer.finish()
    except BaseException:
        writer.discard()
        raise
