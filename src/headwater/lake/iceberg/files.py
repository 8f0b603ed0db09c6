"""Writes the files of snapshots: data files for rows that no folded file holds, position deletes, and manifests.

Each file is synced, so that one that a crash left is complete or not found.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headwater.domain.segment_table import SegmentFile, VisibleSegments
from headwater.lake.engine import Engine
from headwater.lake.iceberg.manifests import DELETED_PATH, Content, Manifest, TableFile, manifest, manifest_list
from headwater.lake.iceberg.rows import CurrentRows, current_rows
from headwater.lake.iceberg.schema import ARROW, ID, Snapshot
from headwater.lake.scan import batches_of

#: Field id of the column ``pos`` in position delete files.
_DELETED_ROW = 2147483545
_DELETES = pa.schema(
    [
        pa.field("file_path", pa.string(), nullable=False).with_metadata({"PARQUET:field_id": str(DELETED_PATH)}),
        pa.field("pos", pa.int64(), nullable=False).with_metadata({"PARQUET:field_id": str(_DELETED_ROW)}),
    ]
)
#: Positions in a row group of a delete file.
_ROW_GROUP = 1 << 20


class Copies(Protocol):
    """Copies of files of one segment, with the task as a column; snapshots share them."""

    def find(self, file: SegmentFile) -> str | None:
        """Return the path in the lake of the copy of a file, if there is one, and keep that for the snapshot."""
        ...

    def add(self, staged: Path, file: SegmentFile) -> str:
        """Move a new copy of a file into the lake, and return its path there."""
        ...


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the files of a snapshot are written."""

    #: The local folder that the files are written to, and its path in the lake once it is complete.
    staged: Path
    path: str
    copies: Copies
    #: Returns the location of a path of the lake, as engines are told it.
    locate: Callable[[str], str]


def write_snapshot(engine: Engine, seen: VisibleSegments, target: Target, *, version: int, at_ms: int) -> Snapshot:
    """Write the files of a snapshot, and return it.

    Raises:
        SegmentDamaged: a segment is damaged.
        Unavailable: there is not enough memory, or a segment was merged meanwhile.
        OSError: the disk is full.
    """
    rows = current_rows(engine, seen)
    data: list[TableFile] = []
    deletes: list[TableFile] = []
    copies: list[str] = []
    for file, is_current in rows.files:
        path = file.path
        if not file.is_folded:
            copies.append(path := _copy(engine, file, target))
        one = _data_file(engine, target, path, file, rows=len(is_current))
        data.append(one)
        if not is_current.all():
            deletes.append(_delete_file(target, one, np.flatnonzero(~is_current), name=f"deletes-{len(deletes)}"))
    if rows.inlined is not None:
        data.append(_inlined_file(target, rows))
    written = [
        _manifest(target, files, content=content, version=version)
        for content, files in ((Content.DATA, data), (Content.POSITION_DELETES, deletes))
        if files
    ]
    name = f"snap-{version}.avro"
    _write(target.staged / name, manifest_list(written, version=version))
    return Snapshot(
        version=version,
        at_ms=at_ms,
        manifest_list=target.locate(f"{target.path}/{name}"),
        docs=rows.docs,
        files=len(data),
        deletes=sum(one.rows for one in deletes),
        copies=copies,
    )


def _manifest(target: Target, files: Sequence[TableFile], *, content: Content, version: int) -> Manifest:
    name = f"{content.name.lower()}.avro"
    encoded = manifest(files, content=content, version=version)
    _write(target.staged / name, encoded)
    return Manifest(
        content=content,
        location=target.locate(f"{target.path}/{name}"),
        size=len(encoded),
        files=len(files),
        rows=sum(file.rows for file in files),
    )


def _data_file(engine: Engine, target: Target, path: str, file: SegmentFile, *, rows: int) -> TableFile:
    low, high = _text(file.min_id), _text(file.max_id)
    return TableFile(
        content=Content.DATA,
        location=target.locate(path),
        rows=rows,
        size=engine.store.status(path)[2],
        lower={} if low is None else {ID: low},
        upper={} if high is None else {ID: high},
    )


def _text(bound: bytes) -> bytes | None:
    """Return a bound if it is text: one that was cut may not be."""
    try:
        bound.decode()
    except UnicodeDecodeError:
        return None
    return bound


def _copy(engine: Engine, file: SegmentFile, target: Target) -> str:
    """Copy a file of one segment, with its task as a column, unless there is a copy; return its path."""
    if (found := target.copies.find(file)) is not None:
        return found
    staged = target.staged / "copy.new"
    engine.require_intact([file], anew=False)
    with parquet_writer(staged) as writer:
        for batch in cast("Any", batches_of(engine, file)):
            task = cast("Any", pa).repeat(pa.scalar(file.task, pa.string()), batch.num_rows)
            writer.write_batch(
                cast("Any", pa.RecordBatch).from_arrays(
                    [batch.column("doc_id"), task, batch.column("doc")], schema=ARROW
                )
            )
    sync(staged)
    return target.copies.add(staged, file)


def _inlined_file(target: Target, rows: CurrentRows) -> TableFile:
    table: Any = rows.inlined
    staged = target.staged / "inlined.parquet"
    with parquet_writer(staged) as writer:
        writer.write_table(table)
    sync(staged)
    return TableFile(
        content=Content.DATA,
        location=target.locate(f"{target.path}/{staged.name}"),
        rows=table.num_rows,
        size=staged.stat().st_size,
        lower={},
        upper={},
    )


def parquet_writer(path: Path, schema: pa.Schema = ARROW) -> Any:
    """Return a writer of a data file: id, task and text, by default with the names of the table."""
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=cast("Any", ["task"]),
        write_statistics=schema.names[:2],
        store_schema=False,
    )


def write_positions(path: Path, location: str, positions: "NDArray[np.int64]") -> None:
    """Write a position delete file: the rows of a data file, ascending, that the table does not show."""
    with pq.ParquetWriter(
        path,
        _DELETES,
        compression="zstd",
        use_dictionary=cast("Any", ["file_path"]),
        column_encoding={"pos": "DELTA_BINARY_PACKED"},
        store_schema=False,
    ) as writer:
        for start in range(0, len(positions), _ROW_GROUP):
            some = positions[start : start + _ROW_GROUP]
            paths = cast("Any", pa).repeat(location, len(some))
            writer.write_table(cast("Any", pa).table([paths, pa.array(some, pa.int64())], schema=_DELETES))
    sync(path)


def _delete_file(target: Target, data: TableFile, positions: "NDArray[np.int64]", *, name: str) -> TableFile:
    staged = target.staged / f"{name}.parquet"
    location = data.location.encode()
    write_positions(staged, data.location, positions)
    first, last = (int(positions[place]).to_bytes(8, "little") for place in (0, -1))
    return TableFile(
        content=Content.POSITION_DELETES,
        location=target.locate(f"{target.path}/{staged.name}"),
        rows=len(positions),
        size=staged.stat().st_size,
        lower={DELETED_PATH: location, _DELETED_ROW: first},
        upper={DELETED_PATH: location, _DELETED_ROW: last},
        deletes_from=data.location,
    )


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    sync(path)


def sync(path: Path) -> None:
    """Sync a file, so that one that a crash left is complete or not found; only the owner may read it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fchmod(handle, 0o600)
        os.fsync(handle)
    finally:
        os.close(handle)
