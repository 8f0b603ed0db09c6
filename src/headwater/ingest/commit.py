"""Committing a written segment to its task in a transaction, or discarding it."""

from datetime import datetime

from headwater.catalog import inlined_segments, intended_files, segments
from headwater.catalog.core.transaction import Transaction
from headwater.domain.stream import Segment, WrittenSegment
from headwater.domain.task import Task
from headwater.lake.store import Store


def add_segment(
    tx: Transaction,
    task: Task,
    written: WrittenSegment,
    *,
    fid: str,
    layer: int,
    base: int,
    added_version: int | None,
    removed_version: int | None = None,
    at: datetime,
) -> None:
    """Add a written segment to the current attempt of a task; its documents start at position ``base``.

    Raises:
        Unavailable: its file was given up meanwhile.
    """
    intended_files.fulfil(tx, written)
    segment = Segment(
        fid=fid,
        stream=task.stream,
        task=task.fid,
        attempt=task.attempt,
        layer=layer,
        path=written.path,
        docs=written.docs,
        bytes=written.bytes,
        min_id=written.min_id,
        max_id=written.max_id,
        deletions=written.deletions,
        digest=written.digest,
        size=written.size,
        added_version=added_version,
        removed_version=removed_version,
        base=base,
        created_at=at,
    )
    segments.add(tx, segment)
    if written.packed is not None:
        inlined_segments.add(tx, written.path, written.packed)


def discard(store: Store, written: WrittenSegment | None) -> None:
    """Discard a written segment that was definitely not committed; its file becomes garbage."""
    if written is not None and written.packed is None:
        store.delete(written.path)
