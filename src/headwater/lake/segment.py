"""Segments: Parquet files with documents of one attempt of one task.

The columns are ``doc_id`` (string), ``pos`` (int64, place in the upload, from 0;
in a merged segment, place in its uploads, end to end) and ``doc`` (string:
the JSON text exactly as it was uploaded, ended by one LF, so that an export is the column's bytes, end
to end).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headwater.domain.stream import Written, id_bounds, inlined_path
from headwater.lake.store import LocalStore

SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("pos", pa.int64(), nullable=False),
        pa.field("doc", pa.string(), nullable=False),
    ]
)

#: A row group holds about so many bytes of documents: enough to read well, little enough to hold.
ROW_GROUP_BYTES = 16 << 20
#: What an open file takes beside: a page of each column, plain and compressed.
OPEN_FILE = 3 << 20
#: In order of ids, smaller ones let a reader pass over more; but each costs it a look.
LEAST_ROW_GROUP_BYTES = 256 << 10
MOST_SORTED_BYTES = 4 << 20
SORTED_ROW_GROUPS = 32


def sorted_row_group(size: int) -> int:
    """Return of how many bytes a row group is where so many bytes of documents are in order of ids."""
    return min(MOST_SORTED_BYTES, max(LEAST_ROW_GROUP_BYTES, size // SORTED_ROW_GROUPS))


class SegmentWriter:
    """Writes one segment, a row group at a time; use it in one thread at a time."""

    def __init__(
        self,
        store: LocalStore,
        path: str,
        *,
        staged_as: str,
        row_group_bytes: int = ROW_GROUP_BYTES,
        most_inlined: int = 0,
    ) -> None:
        """Prepare; no file is made before the first row group, and none at all of ``most_inlined`` bytes or fewer."""
        self._most_inlined = most_inlined
        self._row_group_bytes = row_group_bytes
        self._store = store
        self._path = path
        self._name = staged_as
        self._staged: Path = store.stage(staged_as)
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._lowest: str | None = None
        self._highest: str | None = None
        self.docs = 0
        self.bytes = 0

    def add(self, batch: pa.RecordBatch, *, size: int) -> None:
        """Add one document or more, ``size`` bytes of them, as a batch with the columns of ``SCHEMA``."""
        ids = cast("Any", batch.column("doc_id"))
        bounds: Any = pc.min_max(ids)
        lowest, highest = bounds["min"].as_py(), bounds["max"].as_py()
        # Python orders text by code point, which is the order of its UTF-8 bytes.
        self._lowest = min(lowest, lowest if self._lowest is None else self._lowest)
        self._highest = max(highest, highest if self._highest is None else self._highest)
        # Who read it from elsewhere may not know that no value is missing.
        self._held.append(cast("Any", pa).RecordBatch.from_arrays(cast("Any", batch).columns, schema=SCHEMA))
        self._held_bytes += size
        self.docs += batch.num_rows
        self.bytes += size
        if self._held_bytes >= self._row_group_bytes:
            self._write_held()

    @property
    def held(self) -> int:
        """About so many bytes of memory it holds: documents that are not written yet, and what an open file takes."""
        return self._held_bytes + (0 if self._writer is None else OPEN_FILE)

    def spill(self) -> None:
        """Write what is held as a row group, smaller than others."""
        self._write_held()

    def finish(self) -> Written | None:
        """Put the segment in its place, on disk when this returns; without documents there is none.

        What is so little that it is to be no file is returned instead, packed.
        """
        if self._lowest is None or self._highest is None:
            return None
        min_id, max_id = id_bounds(self._lowest, self._highest)
        if self.bytes <= self._most_inlined and self._writer is None:
            return Written(
                path=inlined_path(self._name),
                docs=self.docs,
                bytes=self.bytes,
                min_id=min_id,
                max_id=max_id,
                packed=pack(self._held),
            )
        self._write_held()
        if self._writer is not None:
            self._writer.close()
        self._store.keep(self._staged, self._path)
        return Written(path=self._path, docs=self.docs, bytes=self.bytes, min_id=min_id, max_id=max_id)

    def discard(self) -> None:
        """Leave nothing behind of a segment that is not to be."""
        if self._writer is not None:
            self._writer.close()
        self._staged.unlink(missing_ok=True)

    def _write_held(self) -> None:
        if not self._held:
            return
        table = pa.Table.from_batches(self._held)
        if self._writer is None:
            self._writer = _writer(self._staged, rows=table.num_rows)
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._held = []
        self._held_bytes = 0


def rehearse() -> None:
    """Write a row group that nobody keeps, since the libraries load late: the first upload would wait 60 ms for it."""
    ids, places, documents = pa.array(["a"]), pa.array(np.arange(1)), pa.array(["{}\n"])
    pc.min_max(ids)
    with _writer(pa.BufferOutputStream(), rows=1) as writer:
        writer.write_table(cast("Any", pa).table([ids, places, documents], schema=SCHEMA))


def pack(batches: Sequence[pa.RecordBatch]) -> bytes:
    """Return rows as bytes."""
    batch = batches[0] if len(batches) == 1 else cast("Any", pa).concat_batches(batches)
    return cast("Any", batch).serialize().to_pybytes()


def unpack(packed: bytes) -> pa.RecordBatch:
    """Return the rows that were packed."""
    return cast("Any", pa).ipc.read_record_batch(pa.py_buffer(packed), SCHEMA)


def _writer(file: Path | pa.BufferOutputStream, *, rows: int) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        file,
        SCHEMA,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,  # documents and ids do not repeat
        write_statistics=["doc_id"],
        bloom_filter_options={"doc_id": {"ndv": rows, "fpp": 0.01}},
        store_schema=False,
    )
