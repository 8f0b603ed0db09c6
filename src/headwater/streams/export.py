"""All documents of a view as one file, in id order, written while it is read."""

import io
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.domain.errors import Flaw, RequestInvalid
from headwater.lake import columns as table
from headwater.lake.columns import Columns, Kind, csv_cell, csv_lines, typed
from headwater.lake.engine import Engine, lines
from headwater.streams.reading import Documents, Reader

#: A row group of Parquet ends with the batch that brings it to so many bytes, or so many rows.
ROW_GROUP_BYTES = 16 << 20
ROW_GROUP_ROWS = 100_000

_ALWAYS = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("task", pa.string(), nullable=False),
    pa.field("document", pa.string(), nullable=False),
]
_TYPES: dict[Kind, pa.DataType] = {
    Kind.INTEGER: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.TEXT: pa.string(),
    Kind.JSON: pa.string(),
    Kind.NOTHING: pa.string(),
}


class ExportFormat(StrEnum):
    """The form of a file of documents."""

    #: Each document as it was uploaded, on a line.
    NDJSON = "ndjson"
    #: The top-level fields as columns (RFC 4180).
    CSV = "csv"
    #: Id, task and text of each, and the top-level fields if they are asked for.
    PARQUET = "parquet"

    @property
    def media_type(self) -> str:
        """What HTTP calls it."""
        return {
            ExportFormat.NDJSON: "application/x-ndjson",
            ExportFormat.CSV: "text/csv; charset=utf-8; header=present",
            ExportFormat.PARQUET: "application/vnd.apache.parquet",
        }[self]

    @property
    def is_compressed(self) -> bool:
        """Whether it is compressed already."""
        return self is ExportFormat.PARQUET


async def pieces(
    reader: Reader,
    engine: Engine,
    documents: Documents,
    form: ExportFormat,
    *,
    infer: bool = False,
    row_group_bytes: int = ROW_GROUP_BYTES,
) -> AsyncIterator[bytes]:
    """Return the file in pieces, with ``infer`` the top-level fields as typed columns of Parquet.

    The first piece is there when this returns, so that what cannot be read at all is an error instead of a
    file that breaks off. Without documents, or without any field in them, a file of CSV is empty.

    Raises:
        RequestInvalid: the documents have too many fields for columns, or columns do not go with the format.
        NotFound, VersionForgotten, Unavailable: the documents cannot be read.
    """
    if infer and form is not ExportFormat.PARQUET:
        detail = f"columns=infer goes with format=parquet, not with format={form}; leave it out"
        raise RequestInvalid(detail, flaws=[Flaw(pointer="?columns", detail=detail)])
    match form:
        case ExportFormat.NDJSON:
            return await _begun(_ndjson(reader, documents))
        case ExportFormat.CSV:
            return await _begun(_csv(reader, engine, documents))
        case ExportFormat.PARQUET:
            columns = await _columns(reader, documents, table.TYPES) if infer else Columns()
            writer = _Writer(engine, columns, row_group_bytes=row_group_bytes)
            return await _begun(_parquet(reader, engine, documents, writer))


async def _begun(file: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    first = await anext(file, b"")

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in file:
            yield piece

    return whole()


async def _ndjson(reader: Reader, documents: Documents) -> AsyncIterator[bytes]:
    async for batch in reader.batches(documents):
        yield lines(batch)


async def _csv(reader: Reader, engine: Engine, documents: Documents) -> AsyncIterator[bytes]:
    columns = await _columns(reader, documents, table.NAMES)
    if not columns.names:
        return
    begin = (",".join(map(csv_cell, columns.names)) + "\r\n").encode()
    async for batch in reader.batches(documents):
        yield begin + await engine.ask(csv_lines, engine, columns, batch)
        begin = b""


async def _parquet(reader: Reader, engine: Engine, documents: Documents, writer: "_Writer") -> AsyncIterator[bytes]:
    async for batch in reader.batches(documents, question=table.TEXTS):
        if piece := await engine.ask(writer.add, batch):
            yield piece
    yield await engine.ask(writer.finish)


async def _columns(reader: Reader, documents: Documents, question: str) -> Columns:
    columns = Columns()
    async for batch in reader.batches(documents, question=question):
        columns.add(batch)
    return columns


def _schema(columns: Columns) -> pa.Schema:
    """Return the columns of a file; a name that is taken gets ``_`` appended until it is not.

    Names that differ in case only count as one: to DuckDB and Spark they are.
    """
    fields: list[pa.Field[Any]] = [*_ALWAYS]
    taken = {field.name for field in fields}
    for field, kind in zip(columns.names, columns.kinds, strict=True):
        name = field
        # DuckDB would make up a name for an empty one.
        while not name or name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        fields.append(pa.field(name, _TYPES[kind]))
    return pa.schema(fields)


class _Writer:
    """Writes a file of Parquet that is handed on while it grows; what it holds is a row group."""

    def __init__(self, engine: Engine, columns: Columns, *, row_group_bytes: int) -> None:
        self._row_group_bytes = row_group_bytes
        self._engine = engine
        self._columns = columns
        self._schema = _schema(columns)
        self._sink = _Sink()
        # Documents and ids do not repeat, and to know the least document helps nobody.
        others = [name for name in self._schema.names if name not in {"id", "document"}]
        self._file = pq.ParquetWriter(
            cast("Any", self._sink),
            self._schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=cast("Any", others),
            write_statistics=["id", *others],
            store_schema=False,
        )
        self._held: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> bytes:
        """Take the next documents, as ``TEXTS`` asks for them; return what of the file became ready."""
        for part in typed(self._engine, self._columns, batch) if self._columns.names else (batch,):
            rows = cast("Any", pa.RecordBatch).from_arrays(cast("Any", part).columns, schema=self._schema)
            self._held.append(rows)
            self._rows += rows.num_rows
            self._bytes += rows.nbytes
            if self._rows >= ROW_GROUP_ROWS or self._bytes >= self._row_group_bytes:
                self._write_held()
        return self._sink.take()

    def finish(self) -> bytes:
        """Return the rest of the file."""
        self._write_held()
        self._file.close()
        return self._sink.take()

    def _write_held(self) -> None:
        if self._held:
            self._file.write_table(pa.Table.from_batches(self._held), row_group_size=self._rows)
        self._held, self._rows, self._bytes = [], 0, 0


class _Sink(io.RawIOBase):
    """A file that keeps only what has not been taken yet."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any, /) -> int:
        piece = bytes(data)
        self._held.append(piece)
        self._size += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """Return what was written since it was last taken."""
        taken = b"".join(self._held)
        self._held = []
        return taken
