"""Reads the rows of one file in order, with Arrow."""

from collections.abc import Iterator
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.domain.segment_table import SegmentFile
from headwater.lake.engine import Engine

#: Maximum bytes of documents, and rows, that are read from a file at a time.
_BYTES = 8 << 20
_ROWS = 8192


def batches_of(engine: Engine, file: SegmentFile) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file in order, from a file or inlined.

    The caller has verified the file, for example by ``Engine.require_intact``.

    Raises:
        SegmentDamaged: they cannot be read.
    """
    if file.is_inlined:
        yield from engine.inlined_rows([file])
        return
    rows = max(1, min(_ROWS, _BYTES * file.docs // max(1, file.bytes)))
    with (
        engine.explaining([file]),
        pq.ParquetFile(engine.location(file), page_checksum_verification=True) as opened,
    ):
        yield from cast("Any", opened).iter_batches(rows)
