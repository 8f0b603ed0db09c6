"""Documents as Arrow tables: their id, task and text, and the columns of their fields."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute
import pyarrow.json as pa_json

from headwater_client.dlt.columns import DELETED, DOCUMENT, ID, TASK, Column, ColumnType

#: Its functions are made when it is imported, so that no type checker knows them.
_pc: Any = pyarrow.compute

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
_NUL = r"\u0000"
_INT64 = range(-(1 << 63), 1 << 63)


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """Return the schema of tables with these columns."""
    fields = [pa.field(ID, pa.string(), nullable=False), pa.field(TASK, pa.string())]
    fields += [pa.field(column.name, _ARROW[column.type]) for column in columns]
    return pa.schema([*fields, pa.field(DOCUMENT, pa.string()), pa.field(DELETED, pa.bool_())])


def tables_of_export(batch: pa.RecordBatch, columns: Sequence[Column]) -> Iterator[pa.Table]:
    """Yield tables of a batch of an export as Parquet."""
    rows = max(1, batch.num_rows * MOST_BYTES // max(batch.nbytes, MOST_BYTES))
    for start in range(0, batch.num_rows, rows):
        ids, tasks, documents = (
            cast("Any", batch.column(name).slice(start, rows).cast(pa.string()))
            for name in ("_id", "_task", "document")
        )
        yield _table(ids, tasks, documents, columns)


def tables_of_changes(lines: Iterable[bytes], columns: Sequence[Column]) -> Iterator[pa.Table]:
    """Yield tables of the lines of a change feed."""
    rows: list[tuple[str, str | None, bytes | None]] = []
    size = 0
    for line in lines:
        rows.append(_change(line))
        size += len(line)
        if len(rows) >= MOST_ROWS or size >= MOST_BYTES:
            yield _table_of_changes(rows, columns)
            rows, size = [], 0
    if rows:
        yield _table_of_changes(rows, columns)


def _table_of_changes(rows: Sequence[tuple[str, str | None, bytes | None]], columns: Sequence[Column]) -> pa.Table:
    ids, tasks, documents = zip(*rows, strict=True)
    texts = pa.array(documents, pa.binary()).cast(pa.string())
    return _table(pa.array(ids, pa.string()), pa.array(tasks, pa.string()), texts, columns)


def _table(ids: Any, tasks: Any, documents: Any, columns: Sequence[Column]) -> pa.Table:
    """Return a table of rows; a document that is null deletes its row, a field of another type than its column is null.

    All is done by Arrow, without objects of Python, unless a document needs them.
    """
    ids = _pc.replace_substring(ids, "\0", "\ufffd")
    has_nul = _pc.match_substring(documents, _NUL)
    if _pc.any(has_nul).as_py():
        documents = pa.array([None if text is None else _storable(text) for text in documents.to_pylist()], pa.string())
    arrays = [ids, tasks, *_fields(documents, columns), documents, documents.is_null()]
    return pa.Table.from_arrays(arrays, schema=schema_of(columns))


def _change(line: bytes) -> tuple[str, str | None, bytes | None]:
    # The text of the document is kept as it is. It stands between the other members, of which none can hold these
    # bytes: within a string, a quotation mark is escaped.
    begin, end = line.find(b',"doc":'), line.rfind(b',"task":')
    rest: dict[str, Any] = json.loads(line[:begin] + line[end:])
    document = line[begin + len(b',"doc":') : end] if rest["op"] == "upsert" else None
    return rest["id"], rest["task"], document


def _storable(document: str) -> str:
    if _NUL not in document:
        return document
    return json.dumps(_cleaned(json.loads(document)), ensure_ascii=False, separators=(",", ":"))


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


def _fields(documents: Any, columns: Sequence[Column]) -> list[Any]:
    """Return the column of each field."""
    if not columns:
        return []
    try:
        wanted = pa.schema([pa.field(column.field, _ARROW[column.type]) for column in columns])
        lines = _pc.binary_join_element_wise(_pc.fill_null(documents, "{}"), "", "\n")
        text: Any = lines.buffers()[2]
        reader: Any = pa.BufferReader(text)
        parsed = pa_json.read_json(
            reader,
            pa_json.ReadOptions(block_size=text.size + 1),
            pa_json.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="ignore"),
        )
        if parsed.num_rows == len(documents):
            return [parsed.column(column.field) for column in columns]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError):
        pass  # a value of another type, or a field twice
    values: list[dict[str, Any]] = [{} if text is None else json.loads(text) for text in documents.to_pylist()]
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
