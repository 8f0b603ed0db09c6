"""Manifests and manifest lists of Iceberg, format version 2: Avro files with the field ids of the specification.

https://iceberg.apache.org/spec/#manifests
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

import fastavro

from headwater.lake.iceberg.schema import SCHEMA

#: Status of a manifest entry: the file was added by the snapshot.
_ADDED = 1
#: Field id of the column ``file_path`` in position delete files.
DELETED_PATH = 2147483546


class Content(IntEnum):
    """What a file, or the files of a manifest, holds."""

    DATA = 0
    POSITION_DELETES = 1


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A data file of a snapshot, or a file with positions deleted from one data file."""

    content: Content
    location: str
    rows: int
    size: int
    #: Bounds of columns by field id, in the single-value form of Iceberg.
    lower: Mapping[int, bytes]
    upper: Mapping[int, bytes]
    #: Of position deletes: the location of their data file.
    deletes_from: str | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest that was written."""

    content: Content
    location: str
    size: int
    files: int
    rows: int


def manifest(files: Sequence[TableFile], *, content: Content, version: int) -> bytes:
    """Return a manifest of files that a snapshot added; its id and sequence number are the stream version."""
    metadata = {
        "schema": json.dumps(SCHEMA),
        "schema-id": str(SCHEMA["schema-id"]),
        "partition-spec": "[]",
        "partition-spec-id": "0",
        "format-version": "2",
        "content": "data" if content is Content.DATA else "deletes",
    }
    return _avro(_ENTRY, [_entry(file, version) for file in files], metadata)


def manifest_list(manifests: Sequence[Manifest], *, version: int) -> bytes:
    """Return the list of a snapshot's manifests."""
    metadata = {
        "snapshot-id": str(version),
        "parent-snapshot-id": "null",
        "sequence-number": str(version),
        "format-version": "2",
    }
    rows: list[dict[str, Any]] = [
        {
            "manifest_path": one.location,
            "manifest_length": one.size,
            "partition_spec_id": 0,
            "content": int(one.content),
            "sequence_number": version,
            "min_sequence_number": version,
            "added_snapshot_id": version,
            "added_files_count": one.files,
            "existing_files_count": 0,
            "deleted_files_count": 0,
            "added_rows_count": one.rows,
            "existing_rows_count": 0,
            "deleted_rows_count": 0,
            "partitions": [],
        }
        for one in manifests
    ]
    return _avro(_MANIFEST_FILE, rows, metadata)


def _entry(file: TableFile, version: int) -> dict[str, Any]:
    return {
        "status": _ADDED,
        "snapshot_id": version,
        "sequence_number": version,
        "file_sequence_number": version,
        "data_file": {
            "content": int(file.content),
            "file_path": file.location,
            "file_format": "PARQUET",
            "partition": {},
            "record_count": file.rows,
            "file_size_in_bytes": file.size,
            "lower_bounds": _pairs(file.lower),
            "upper_bounds": _pairs(file.upper),
            "sort_order_id": 0 if file.content is Content.DATA else None,
            "referenced_data_file": file.deletes_from,
        },
    }


def _pairs(bounds: Mapping[int, bytes]) -> list[dict[str, Any]] | None:
    return [{"key": key, "value": value} for key, value in sorted(bounds.items())] or None


def _avro(schema: Any, rows: Sequence[Mapping[str, Any]], metadata: Mapping[str, str]) -> bytes:
    file = io.BytesIO()
    cast("Any", fastavro).writer(file, schema, rows, codec="deflate", metadata=metadata)
    return file.getvalue()


def _field(name: str, type_: Any, field_id: int) -> dict[str, Any]:
    return {"name": name, "type": type_, "field-id": field_id}


def _optional(name: str, type_: Any, field_id: int) -> dict[str, Any]:
    return {"name": name, "type": ["null", type_], "default": None, "field-id": field_id}


def _record(name: str, *fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def _list(element: Any, element_id: int) -> dict[str, Any]:
    return {"type": "array", "items": element, "element-id": element_id}


def _map(value: str, key_id: int, value_id: int) -> dict[str, Any]:
    # Avro's own maps have text keys only.
    pair = _record(f"k{key_id}_v{value_id}", _field("key", "int", key_id), _field("value", value, value_id))
    return {"type": "array", "logicalType": "map", "items": pair}


_ENTRY = fastavro.parse_schema(
    _record(
        "manifest_entry",
        _field("status", "int", 0),
        _optional("snapshot_id", "long", 1),
        _optional("sequence_number", "long", 3),
        _optional("file_sequence_number", "long", 4),
        _field(
            "data_file",
            _record(
                "r2",
                _field("content", "int", 134),
                _field("file_path", "string", 100),
                _field("file_format", "string", 101),
                _field("partition", _record("r102"), 102),
                _field("record_count", "long", 103),
                _field("file_size_in_bytes", "long", 104),
                _optional("column_sizes", _map("long", 117, 118), 108),
                _optional("value_counts", _map("long", 119, 120), 109),
                _optional("null_value_counts", _map("long", 121, 122), 110),
                _optional("nan_value_counts", _map("long", 138, 139), 137),
                _optional("lower_bounds", _map("bytes", 126, 127), 125),
                _optional("upper_bounds", _map("bytes", 129, 130), 128),
                _optional("key_metadata", "bytes", 131),
                _optional("split_offsets", _list("long", 133), 132),
                _optional("equality_ids", _list("int", 136), 135),
                _optional("sort_order_id", "int", 140),
                _optional("referenced_data_file", "string", 143),
            ),
            2,
        ),
    )
)
_MANIFEST_FILE = fastavro.parse_schema(
    _record(
        "manifest_file",
        _field("manifest_path", "string", 500),
        _field("manifest_length", "long", 501),
        _field("partition_spec_id", "int", 502),
        _field("content", "int", 517),
        _field("sequence_number", "long", 515),
        _field("min_sequence_number", "long", 516),
        _field("added_snapshot_id", "long", 503),
        _field("added_files_count", "int", 504),
        _field("existing_files_count", "int", 505),
        _field("deleted_files_count", "int", 506),
        _field("added_rows_count", "long", 512),
        _field("existing_rows_count", "long", 513),
        _field("deleted_rows_count", "long", 514),
        _optional(
            "partitions",
            _list(
                _record(
                    "r508",
                    _field("contains_null", "boolean", 509),
                    _optional("contains_nan", "boolean", 518),
                    _optional("lower_bound", "bytes", 510),
                    _optional("upper_bound", "bytes", 511),
                ),
                508,
            ),
            507,
        ),
    )
)
