"""Documents as a Parquet file, streamed while it is written."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.lake.tables import Fields, column, named_apart, slices, type_of
from headwater.streams.sink import Sink

#: A row group ends with the batch that reaches this many bytes, or rows.
ROW_GROUP_BYTES = 16 << 20
ROW_GROUP_ROWS = 100_000

#: The footer's key for the skipped damaged segments, as JSON.
SKIPPED = "headwater.skipped_segments"

# Names that do not collide with fields of documents, of which `id` is the most frequent one.
_KEYS = [pa.field("_id", pa.string(), nullable=False), pa.field("_task", pa.string(), nullable=False)]
_DOCUMENT = pa.field("document", pa.string(), nullable=False)


class ParquetWriter:
    """Writes a Parquet file that is streamed while it grows; it buffers one row group."""

    names_skipped = True

    def __init__(self, fields: Fields | None, *, has_document: bool, row_group_bytes: int = ROW_GROUP_BYTES) -> None:
        """Write a column for each field, and the text of each document if ``has_document``."""
        self._row_group_bytes = row_group_bytes
        self._shapes = {} if fields is None else fields.shapes
        self._has_document = has_document
        always = [*_KEYS, _DOCUMENT] if has_document else _KEYS
        names = named_apart(self._shapes, [field.name for field in always])
        types = map(type_of, self._shapes.values())
        self._schema = pa.schema([*always, *(pa.field(*pair) for pair in zip(names, types, strict=True))])
        self._sink = Sink()
        # Documents and ids do not repeat, and min/max statistics of documents are useless.
        others = [
            path
            for field in cast("Any", self._schema)
            if field.name not in {"_id", "document"}
            for path in _paths(field.name, field.type)
        ]
        self._file = pq.ParquetWriter(
            cast("Any", self._sink),
            self._schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=cast("Any", others),
            write_statistics=["_id", *others],
            store_schema=False,
        )
        self._held: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> bytes:
        """Add the next documents, ``doc_id``, ``task`` and ``doc``; return the finished part of the file."""
        if not self._shapes:
            self._take(batch, [])
        else:
            for part, documents in slices(batch, len(self._shapes)):
                self._take(
                    part,
                    [column(shape, [one.get(name) for one in documents]) for name, shape in self._shapes.items()],
                )
        return self._sink.take()

    def finish(self, skipped: Sequence[dict[str, str | None]] = ()) -> bytes:
        """Return the rest of the file; its metadata list the ``skipped`` segments."""
        self._write_held()
        if skipped:
            self._file.add_key_value_metadata({SKIPPED: json.dumps(list(skipped), separators=(",", ":"))})
        self._file.close()
        return self._sink.take()

    def _take(self, batch: Any, columns: list[Any]) -> None:
        always = batch.columns if self._has_document else batch.columns[:2]
        rows = cast("Any", pa.RecordBatch).from_arrays([*always, *columns], schema=self._schema)
        self._held.append(rows)
        self._rows += rows.num_rows
        self._bytes += rows.nbytes
        if self._rows >= ROW_GROUP_ROWS or self._bytes >= self._row_group_bytes:
            self._write_held()

    def _write_held(self) -> None:
        if self._held:
            self._file.write_table(pa.Table.from_batches(self._held), row_group_size=self._rows)
        self._held, self._rows, self._bytes = [], 0, 0


def _paths(name: str, type_: Any) -> Iterator[str]:
    """Yield the Parquet column paths of a field: those in lists and structs have longer paths."""
    if pa.types.is_list(type_):
        yield from _paths(f"{name}.list.element", type_.value_type)
    elif pa.types.is_struct(type_):
        for field in cast("Any", type_).fields:
            yield from _paths(f"{name}.{field.name}", field.type)
    else:
        yield name
