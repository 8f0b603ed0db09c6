"""Segments on disk, for tests."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from headwater.domain.stream import Segment, segment_path
from headwater.lake.segment import SCHEMA, SegmentWriter
from headwater.lake.store import LocalStore

STREAM = "5" * 32

#: A file that takes nothing, as on a disk without room; Linux has one.
FULL = Path("/dev/full")
needs_a_full_disk = pytest.mark.skipif(not FULL.exists(), reason=f"there is no {FULL} here")

#: A document's id and its text.
Row = tuple[str, str]


def a_batch(rows: Sequence[Row], *, first: int = 0) -> pa.RecordBatch:
    """Rows as a batch, their places counted from ``first``."""
    ids, texts = [row[0] for row in rows], [row[1] for row in rows]
    places = range(first, first + len(rows))
    return pa.record_batch([pa.array(ids, pa.string()), pa.array(places, pa.int64()), pa.array(texts)], schema=SCHEMA)


def size_of(rows: Sequence[Row]) -> int:
    """Bytes of the rows' texts."""
    return sum(len(text.encode()) for _, text in rows)


def write(store: LocalStore, rows: Sequence[Row], *, layer: int = 1, task: str = "7" * 32) -> Segment:
    """A visible segment, on disk."""
    fid = uuid4().hex
    writer = SegmentWriter(store, segment_path(stream=STREAM, task=task, segment=fid), staged_as=fid)
    writer.add(a_batch(rows), size=size_of(rows))
    written = writer.finish()
    return Segment(
        fid=fid,
        stream=STREAM,
        task=task,
        attempt=1,
        layer=layer,
        path=written.path,
        docs=written.docs,
        bytes=written.bytes,
        min_id=written.min_id,
        max_id=written.max_id,
        added_version=layer,
        removed_version=None,
        total=written.docs,
        idempotency_key=None,
        body_digest=None,
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )


def files_in(store: LocalStore) -> list[str]:
    """The paths of all files in the store, staged ones too."""
    return sorted(file.relative_to(store.root).as_posix() for file in store.root.rglob("*") if not file.is_dir())


def text_of(value: Any) -> str:
    """A document's text with a value in it."""
    return f'{{"v": {value}}}\n'
