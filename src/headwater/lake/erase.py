"""Rewrites a file without one document."""

from typing import Any, cast

import pyarrow.compute as pc

from headwater.domain.segment_table import SegmentFile
from headwater.domain.stream import WrittenSegment
from headwater.lake.engine import Engine, size_of
from headwater.lake.scan import batches_of
from headwater.lake.segment import FOLDED, SINGLE, SegmentWriter, sorted_row_group
from headwater.lake.segment_format import Origin
from headwater.lake.store import Store


def write_without(
    engine: Engine,
    store: Store,
    file: SegmentFile,
    doc_id: str,
    to: str,
    *,
    staged_as: str,
    origin: Origin | None = None,
) -> WrittenSegment | None:
    """Write the rows of a file except those of a document, in order, to a file; None if none remain.

    Raises:
        SegmentDamaged: the file is damaged; nothing is written then.
    """
    engine.require_intact([file])
    row_group = sorted_row_group(file.bytes)
    form = FOLDED if file.is_folded else SINGLE
    writer = SegmentWriter(store, to, staged_as=staged_as, row_group_bytes=row_group, origin=origin, form=form)
    try:
        for batch in batches_of(engine, file):
            others = cast("Any", pc).not_equal(cast("Any", batch).column("doc_id"), doc_id)
            kept = cast("Any", batch).filter(others)
            if kept.num_rows:
                writer.add(kept, size=size_of(kept.column("doc")))
        return writer.finish()
    except BaseException:
        writer.discard()
        raise
