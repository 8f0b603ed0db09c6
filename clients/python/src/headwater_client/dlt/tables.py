"""Documents as Arrow tables: their id, task and text, and the columns of their fields."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa
import pyarrow.json as pa_json

from headwater_client.dlt.columns import DELETED, DOCUMENT, ID, TASK, Column, ColumnType

_ARROW = {
    ColumnType.TEXT: pa.string(),
    ColumnType.BIGINT: pa.int64(),
    ColumnType.DOUBLE: pa.float64(),
    ColumnType.BOOL: pa.bool_(),
}
#: A table ends after so many documents, or bytes of them.
MOST_ROWS = 50_000
MOST_BYTES = 32 << 20
#: In JSON text, the character NUL, which few databases can hold; or an escaped backslash before other text.
_NUL = rb"\u0000"
_INT64 = range(-(1 << 63), 1 << 63)


@dataclass
class Rows:
    """Rows of a table that is being filled."""

    ids: list[str] = field(default_factory=list[str])
    tasks: list[str | None] = field(default_factory=list[str | None])
    #: The JSON text of each document; None deletes it.
    documents: list[bytes | None] = field(default_factory=list[bytes | None])
    size: int = 0

    def add(self, doc_id: str, task: str | None, document: bytes | None) -> None:
        """Add a row."""
        self.ids.append(doc_id)
        self.tasks.append(task)
        self.documents.append(document)
        self.size += len(document or b"")

    @property
    def is_full(self) -> bool:
        """Whether a table should be made of them."""
        return len(self.ids) >= MOST_ROWS or self.size >= MOST_BYTES


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """Return the schema of tables with these columns."""
    fields = [pa.field(ID, pa.string(), nullable=False), pa.field(TASK, pa.string())]
    fields += [pa.field(column.name, _ARROW[column.type]) for column in columns]
    return pa.schema([*fields, pa.field(DOCUMENT, pa.string()), pa.field(DELETED, pa.bool_())])


def table_of(rows: Rows, columns: Sequence[Column]) -> pa.Table:
    """Return a table of rows; a field whose value is not of its column's type is null there."""
    documents, text = rows.documents, _lines(rows.documents)
    if _NUL in text:
        documents = [None if document is None else _storable(document) for document in documents]
        text = _lines(documents)
    ids = [doc_id.replace("\0", "\ufffd") for doc_id in rows.ids]
    arrays = [pa.array(ids, pa.string()), pa.array(rows.tasks, pa.string()), *_fields(documents, text, columns)]
    arrays.append(pa.array(documents, pa.binary()).cast(pa.string()))
    arrays.append(pa.array([document is None for document in documents], pa.bool_()))
    return pa.Table.from_arrays(arrays, schema=schema_of(columns))


def tables_of_changes(lines: Iterable[bytes], columns: Sequence[Column]) -> Iterator[pa.Table]:
    """Yield tables of the lines of a change feed."""
    rows = Rows()
    for line in lines:
        rows.add(*_change(line))
        if rows.is_full:
            yield table_of(rows, columns)
            rows = Rows()
    if rows.ids:
        yield table_of(rows, columns)


def table_of_export(batch: pa.RecordBatch, columns: Sequence[Column]) -> pa.Table:
    """Return a table of a batch of an export as Parquet."""
    ids, tasks, documents = (batch.column(name).cast(pa.string()) for name in ("_id", "_task", "document"))
    held = Rows(tasks=tasks.to_pylist(), documents=documents.cast(pa.binary()).to_pylist())
    held.ids = cast("list[str]", ids.to_pylist())
    return table_of(held, columns)


def _change(line: bytes) -> tuple[str, str | None, bytes | None]:
    # The text of the document is kept as it is. It stands between the other members, of which none can hold these
    # bytes: within a string, a quotation mark is escaped.
    begin, end = line.find(b',"doc":'), line.rfind(b',"task":')
    rest: dict[str, Any] = json.loads(line[:begin] + line[end:])
    document = line[begin + len(b',"doc":') : end] if rest["op"] == "upsert" else None
    return rest["id"], rest["task"], document


def _storable(document: bytes) -> bytes:
    if _NUL not in document:
        return document
    return json.dumps(_cleaned(json.loads(document)), ensure_ascii=False, separators=(",", ":")).encode()


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case list():
            return [_cleaned(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
        case dict():
            return {_cleaned(name): _cleaned(each) for name, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value


def _lines(documents: Sequence[bytes | None]) -> bytes:
    return b"\n".join(b"{}" if document is None else document for document in documents)


def _fields(
    documents: Sequence[bytes | None], text: bytes, columns: Sequence[Column]
) -> list[pa.Array[Any] | pa.ChunkedArray[Any]]:
    """Return the column of each field; ``text`` holds the documents as lines."""
    if not columns:
        return []
    try:
        wanted = pa.schema([pa.field(column.field, _ARROW[column.type]) for column in columns])
        parsed = pa_json.read_json(
            io.BytesIO(text),
            pa_json.ReadOptions(block_size=len(text) + 1),
            pa_json.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="ignore"),
        )
        if parsed.num_rows == len(documents):
            return [parsed.column(column.field) for column in columns]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError):
        pass  # a value of another type, or a field twice
    values: list[dict[str, Any]] = [{} if document is None else json.loads(document) for document in documents]
    return [
        pa.array([_fitting(value.get(column.field), column.type) for value in values], _ARROW[column.type])
        for column in columns
    ]


def _fitting(value: object, kind: ColumnType) -> object:
    """Return a value as one of a column's type; None if it is none."""
    if isinstance(value, bool):
        return value if kind is ColumnType.BOOL else None
    if isinstance(value, str):
        return value if kind is ColumnType.TEXT else None
    if isinstance(value, int | float) and kind is ColumnType.BIGINT:
        return int(value) if math.isfinite(value) and value == int(value) and int(value) in _INT64 else None
    if isinstance(value, int | float) and kind is ColumnType.DOUBLE:
        return value if isinstance(value, float) or abs(value) <= sys.float_info.max else None
    return None
