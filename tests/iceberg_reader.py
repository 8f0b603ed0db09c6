"""Reads a table of Iceberg as the specification says, as plainly as can be."""

from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq


def path_of(location: str) -> Path:
    """Where a file of a local warehouse is."""
    assert location.startswith("file:///")
    return Path(location.removeprefix("file://"))


def avro(location: str) -> list[dict[str, Any]]:
    """The records of an Avro file."""
    with path_of(location).open("rb") as file:
        return list(fastavro.reader(file))


def rows(metadata: dict[str, Any], snapshot: int | None = None) -> list[tuple[str, str, str]]:
    """The rows of a snapshot, or of the current one, in the order of ids."""
    wanted = metadata["current-snapshot-id"] if snapshot is None else snapshot
    if wanted == -1:
        return []
    [found] = [one for one in metadata["snapshots"] if one["snapshot-id"] == wanted]
    names = {str(field["id"]): field["name"] for field in metadata["schemas"][0]["fields"]}
    data, deleted = [], {}
    for manifest in avro(found["manifest-list"]):
        assert path_of(manifest["manifest_path"]).stat().st_size == manifest["manifest_length"]
        files = [entry["data_file"] for entry in avro(manifest["manifest_path"])]
        assert manifest["added_rows_count"] == sum(file["record_count"] for file in files)
        for file in files:
            path = path_of(file["file_path"])
            assert path.stat().st_size == file["file_size_in_bytes"]
            table = pq.ParquetFile(path).read()
            assert table.num_rows == file["record_count"]
            if file["content"] == 0:
                data.append((file, table))
            else:
                pairs = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
                assert pairs == sorted(set(pairs))
                assert {path for path, _ in pairs} == {file["referenced_data_file"]}
                deleted.setdefault(file["referenced_data_file"], set()).update(row for _, row in pairs)
    seen = []
    for file, table in data:
        columns = {
            names[field.metadata[b"PARQUET:field_id"].decode()]: table.column(field.name).to_pylist()
            for field in table.schema
            if field.metadata[b"PARQUET:field_id"].decode() in names
        }
        gone = deleted.pop(file["file_path"], set())
        kept = [
            row
            for place, row in enumerate(zip(columns["id"], columns["task"], columns["document"], strict=True))
            if place not in gone
        ]
        assert kept, "a file without rows is no file of a snapshot"
        for bound, is_within in (("lower_bounds", bytes.__le__), ("upper_bounds", bytes.__ge__)):
            for pair in file[bound] or ():
                assert all(is_within(pair["value"], row[0].encode()) for row in kept)
        seen += kept
    assert not deleted, "positions of a file that is none of the snapshot"
    return sorted(seen, key=lambda row: row[0].encode())
