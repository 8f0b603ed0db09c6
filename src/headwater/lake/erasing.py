"""A segment's file, written anew without one document."""

from typing import Any, cast

import pyarrow.compute as pc

from headwater.domain.stream import Segment, Written
from headwater.lake.engine import size_of
from headwater.lake.inlining import Inlined, batches_of
from headwater.lake.segment import SegmentWriter, sorted_row_group
from headwater.lake.store import LocalStore


def write_without(
    store: LocalStore, inlined: Inlined, segment: Segment, doc_id: str, to: str, *, staged_as: str
) -> Written | None:
    """Write the rows of a segment that are not of a document, in their order, as a file; None if none is left."""
    row_group = sorted_row_group(segment.bytes)
    writer = SegmentWriter(store, to, staged_as=staged_as, row_group_bytes=row_group)
    try:
        for batch in batches_of(store, inlined, segment):
            others = cast("Any", pc).not_equal(cast("Any", batch).column("doc_id"), doc_id)
            kept = cast("Any", batch).filter(others)
            if kept.num_rows:
                writer.add(kept, size=size_of(kept.column("doc")))
        return writer.finish()
    except BaseException:
        writer.discard()
        raise
