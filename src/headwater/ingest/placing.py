"""What was written, and becomes a task's: in one transaction, or not at all."""

from datetime import datetime

from headwater.catalog import inlined, segments
from headwater.catalog.transaction import Transaction
from headwater.domain.stream import Segment, Written
from headwater.domain.task import Task
from headwater.lake.store import LocalStore


def put(
    tx: Transaction,
    task: Task,
    written: Written,
    *,
    fid: str,
    layer: int,
    base: int,
    added_version: int | None,
    removed_version: int | None = None,
    at: datetime,
) -> None:
    """Make what was written a segment of the present attempt of a task, whose documents begin at the place ``base``."""
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
        added_version=added_version,
        removed_version=removed_version,
        base=base,
        created_at=at,
    )
    segments.add(tx, segment)
    if written.packed is not None:
        inlined.add(tx, written.path, written.packed)


def drop(store: LocalStore, written: Written | None) -> None:
    """Delete what was written and is refused for certain, so that its file is garbage."""
    if written is not None and written.packed is None:
        store.delete(written.path)
