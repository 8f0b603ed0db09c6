"""Writes segments: files with documents of one attempt of one task, in the format of ``segment_format``."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from headwater.domain.stream import WrittenSegment, id_bounds, inlined_path
from headwater.lake.integrity import DigestFile
from headwater.lake.segment_format import FOLDED_SCHEMA, SCHEMA, Origin, metadata_of, with_field_ids
from headwater.lake.store import Store

#: Bytes of documents in a row group: large enough to read well, small enough to hold in memory.
ROW_GROUP_BYTES = 16 << 20
#: Further memory of an open file: a page of each column, plain and compressed.
OPEN_FILE = 3 << 20
#: Minimum size in sorted files: smaller row groups let a reader skip more, but each costs it a lookup.
LEAST_ROW_GROUP_BYTES = 256 << 10
MOST_SORTED_BYTES = 4 << 20
SORTED_ROW_GROUPS = 32


def sorted_row_group(size: int) -> int:
    """Return the row group size for a sorted file with so many bytes of documents."""
    return min(MOST_SORTED_BYTES, max(LEAST_ROW_GROUP_BYTES, size // SORTED_ROW_GROUPS))


@dataclass(frozen=True, kw_only=True)
class Form:
    """How the rows of a file are stored."""

    schema: pa.Schema
    #: What is given to the Parquet writer.
    options: Mapping[str, Any]
    #: Maximum number of rows in a row group.
    most_rows: int
    #: Whether row groups have a bloom filter of their ids.
    has_bloom_filter: bool


#: A file of one segment.
SINGLE = Form(
    schema=SCHEMA,
    options={"compression_level": 1, "use_dictionary": False},  # documents and ids do not repeat
    most_rows=1 << 30,
    has_bloom_filter=True,
)
#: A folded file: versions of a document lie beside each other, so that what repeats takes next to nothing. Whole row
#: groups are read to look up one document.
FOLDED = Form(
    schema=FOLDED_SCHEMA,
    options={
        "compression_level": 3,
        "use_dictionary": ["doc_id", "doc", "task"],
        "dictionary_pagesize_limit": 1 << 30,
        "column_encoding": {"part": "DELTA_BINARY_PACKED", "pos": "DELTA_BINARY_PACKED", "text_hash": "PLAIN"},
    },
    # Each row group stores the names of its tasks: with fewer rows, these would be most of an unchanged version.
    most_rows=32_768,
    has_bloom_filter=False,
)
#: Bytes in memory of unwritten documents, texts that repeat included.
MOST_IN_MEMORY = 64 << 20
#: Bytes of different texts in a row group of a folded file.
FOLDED_ROW_GROUP_BYTES = 1 << 20


class SegmentWriter:
    """Writes one segment, a row group at a time; not thread-safe."""

    def __init__(
        self,
        store: Store,
        path: str,
        *,
        staged_as: str,
        row_group_bytes: int = ROW_GROUP_BYTES,
        most_inlined: int = 0,
        origin: Origin | None = None,
        form: Form = SINGLE,
    ) -> None:
        """Prepare; the file is created with the first row group, and not at all for up to ``most_inlined`` bytes.

        ``origin`` goes into the file's metadata.
        """
        self._origin = origin
        self._form = form
        self._held_rows = 0
        self._held_memory = 0
        self._most_inlined = most_inlined
        self._row_group_bytes = row_group_bytes
        self._store = store
        self._path = path
        self._name = staged_as
        self._staged: Path = store.stage(staged_as)
        self._file: DigestFile | None = None
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._lowest: str | None = None
        self._highest: str | None = None
        self.docs = 0
        self.deletions = 0
        self.bytes = 0

    def add(self, batch: pa.RecordBatch, *, size: int, deletions: int = 0) -> None:
        """Add one or more documents, of ``size`` bytes, as a batch with the columns of the form.

        Some of them may be ``deletions``, with an empty text.
        """
        self.deletions += deletions
        ids = cast("Any", batch.column("doc_id"))
        bounds: Any = pc.min_max(ids)
        lowest, highest = bounds["min"].as_py(), bounds["max"].as_py()
        # Python orders strings by code point, which is the order of their UTF-8 bytes.
        self._lowest = min(lowest, lowest if self._lowest is None else self._lowest)
        self._highest = max(highest, highest if self._highest is None else self._highest)
        # A batch that was read from a file may allow nulls, or have its columns in another order.
        schema: Any = self._form.schema
        columns = [cast("Any", batch).column(name) for name in schema.names]
        self._held.append(cast("Any", pa).RecordBatch.from_arrays(columns, schema=schema))
        self._held_bytes += size
        self._held_rows += batch.num_rows
        self._held_memory += batch.nbytes
        self.docs += batch.num_rows
        self.bytes += size
        is_full = self._held_bytes >= self._row_group_bytes or self._held_rows >= self._form.most_rows
        if is_full or self._held_memory >= MOST_IN_MEMORY:
            self._write_held()

    @property
    def held(self) -> int:
        """Approximate bytes of memory in use: unwritten documents, and an open file's buffers."""
        return self._held_bytes + (0 if self._writer is None else OPEN_FILE)

    def spill(self) -> None:
        """Write the unwritten documents as a row group, smaller than others."""
        self._write_held()

    def finish(self) -> WrittenSegment | None:
        """Move the segment to its place, on disk when this returns; without documents there is none.

        A segment small enough to be inlined is returned packed instead.
        """
        if self._lowest is None or self._highest is None:
            return None
        min_id, max_id = id_bounds(self._lowest, self._highest)
        if self.bytes <= self._most_inlined and self._writer is None:
            return WrittenSegment(
                path=inlined_path(self._name),
                docs=self.docs,
                deletions=self.deletions,
                bytes=self.bytes,
                min_id=min_id,
                max_id=max_id,
                packed=pack(self._held, inlined_path(self._name)),
            )
        self._write_held()
        self._close()
        self._store.keep(self._staged, self._path)
        return WrittenSegment(
            path=self._path,
            docs=self.docs,
            deletions=self.deletions,
            bytes=self.bytes,
            min_id=min_id,
            max_id=max_id,
            digest=None if self._file is None else self._file.digest,
            size=None if self._file is None else self._file.size,
            is_intended=self._store.is_remote,
        )

    def discard(self) -> None:
        """Discard an unfinished segment without leaving anything behind."""
        with suppress(OSError):  # on a full disk, closing fails as writing did
            self._close()
        self._staged.unlink(missing_ok=True)

    def _close(self) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            if self._file is not None:
                self._file.close()

    def _write_held(self) -> None:
        if not self._held:
            return
        table = pa.Table.from_batches(self._held)
        if self._writer is None:
            self._file = DigestFile(self._staged)
            self._writer = _writer(self._file, self._form, rows=table.num_rows)
            self._writer.add_key_value_metadata(metadata_of(self._origin))
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._held = []
        self._held_bytes = self._held_rows = self._held_memory = 0


def rehearse() -> None:
    """Write a throwaway row group, since the libraries load lazily: the first upload would wait 60 ms for it."""
    ids, places, documents = pa.array(["a"]), pa.array(np.arange(1)), pa.array(["{}\n"])
    pc.min_max(ids)
    with _writer(pa.BufferOutputStream(), SINGLE, rows=1) as writer:
        writer.write_table(cast("Any", pa).table([ids, places, documents], schema=SCHEMA))


#: Prefix of packed rows: their format, then the digest of the rest and of their path.
_MAGIC = b"HWR2"
_DIGEST = 16
#: Packed rows of older releases begin as Arrow's messages do, and have no digest.
_UNDIGESTED = b"\xff\xff\xff\xff"


class PackedDamaged(ValueError):
    """Packed rows are damaged."""


def pack(batches: Sequence[pa.RecordBatch], path: str) -> bytes:
    """Return rows as bytes to be stored at a path, with a digest."""
    batch = batches[0] if len(batches) == 1 else cast("Any", pa).concat_batches(batches)
    rows = cast("Any", batch).serialize().to_pybytes()
    return _MAGIC + _packed_digest(rows, path) + rows


def unpack(packed: bytes, path: str) -> pa.RecordBatch:
    """Return the rows that were packed for a path.

    Raises:
        PackedDamaged: these are not the bytes that were packed for it.
    """
    if not packed:
        raise PackedDamaged("its rows are missing")
    data = memoryview(packed)
    if packed.startswith(_MAGIC):
        begin = len(_MAGIC) + _DIGEST
        if packed[len(_MAGIC) : begin] != _packed_digest(data[begin:], path):
            raise PackedDamaged("its rows do not have the digest that they were written with")
        data = data[begin:]
    elif not packed.startswith(_UNDIGESTED):
        raise PackedDamaged("its rows are not in a form that is known")
    try:
        return cast("Any", pa).ipc.read_record_batch(pa.py_buffer(data), SCHEMA)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise PackedDamaged("its rows cannot be decoded") from error


def _packed_digest(rows: Any, path: str) -> bytes:
    found = xxhash.xxh3_128(path.encode())
    found.update(rows)
    return found.digest()


def _writer(file: DigestFile | pa.BufferOutputStream, form: Form, *, rows: int) -> pq.ParquetWriter:
    bloom_filter = {"bloom_filter_options": {"doc_id": {"ndv": rows, "fpp": 0.01}}} if form.has_bloom_filter else {}
    return pq.ParquetWriter(
        cast("Any", file),
        with_field_ids(form.schema),
        compression="zstd",
        write_statistics=["doc_id"],
        store_schema=False,
        write_page_checksum=True,
        **form.options,
        **cast("Any", bloom_filter),
    )
