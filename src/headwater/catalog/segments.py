"""Which segments exist, and which of them a stream shows at which of its versions."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, insert, null, or_, select, update
from sqlalchemy.exc import IntegrityError

from headwater.catalog import tables
from headwater.catalog.database import Transaction
from headwater.domain.errors import UploadInFlight
from headwater.domain.fid import new_fid
from headwater.domain.stream import Segment, Visibility
from headwater.domain.task import Task

_segments = tables.segments.c
_ALL = select(tables.segments)
_ADD = insert(tables.segments)


class KeyTaken(UploadInFlight):
    """Another process took an upload under this Idempotency-Key."""


def add(tx: Transaction, segment: Segment) -> None:
    """Store a new segment; from here on its file counts.

    Raises:
        KeyTaken: its attempt has one under the same idempotency key.
    """
    try:
        tx.execute(_ADD, asdict(segment))
    except IntegrityError as error:
        raise KeyTaken(f"Idempotency-Key {segment.idempotency_key!r} is in use") from error


def visible(
    tx: Transaction,
    stream: str,
    visibility: Visibility,
    *,
    holding: str | None = None,
    from_id: str | None = None,
) -> list[Segment]:
    """Return a stream's segments as a reader sees them, lowest layer first.

    With ``holding`` only those that may hold the document of that id, with ``from_id`` those that may
    hold one with that id or a higher one: files that cannot matter need not be opened.
    """
    wanted = _ALL.where(_segments.stream == stream, _visible_at(visibility.version)).order_by(_segments.layer)
    if holding is not None:
        doc_id = holding.encode()
        wanted = wanted.where(_segments.min_id <= doc_id, doc_id <= _segments.max_id)
    if from_id is not None:
        wanted = wanted.where(_segments.max_id >= from_id.encode())
    return tx.values(wanted, Segment)


def of_attempt(tx: Transaction, task: Task) -> list[Segment]:
    """Return the segments of a task's present attempt in the order of their uploads."""
    wanted = _ALL.where(_segments.task == task.fid, _segments.attempt == task.attempt).order_by(
        _segments.layer, _segments.fid
    )
    # A restored segment has a row for each time that it was visible; its file is one.
    return list({segment.path: segment for segment in tx.values(wanted, Segment)}.values())


def by_key(tx: Transaction, task: str, attempt: int, key: str) -> Segment | None:
    """Return the segment that an attempt uploaded under an idempotency key, or None."""
    return tx.value(
        _ALL.where(_segments.task == task, _segments.attempt == attempt, _segments.idempotency_key == key), Segment
    )


def shown(task: str, *, but_attempt: int | None = None) -> ColumnElement[bool]:
    """Name the segments of a task that its stream shows now; without those of one attempt if it is given."""
    showing = (_segments.task == task) & _segments.added_version.is_not(None) & _segments.removed_version.is_(None)
    return showing if but_attempt is None else showing & (_segments.attempt != but_attempt)


def waiting(task: Task) -> ColumnElement[bool]:
    """Name the segments of a task's present attempt that were never published."""
    return (_segments.task == task.fid) & (_segments.attempt == task.attempt) & _segments.added_version.is_(None)


def docs_in(tx: Transaction, named: ColumnElement[bool]) -> int | None:
    """Return the number of document versions in the segments that are named; None if there are no such segments."""
    return tx.execute(select(func.sum(_segments.docs)).where(named)).scalar_one()


def publish(tx: Transaction, named: ColumnElement[bool], *, version: int) -> None:
    """Make segments visible from a stream version on."""
    tx.execute(update(tables.segments).where(named).values(added_version=version))


def take_out(tx: Transaction, named: ColumnElement[bool], *, version: int) -> None:
    """Make segments invisible from a stream version on."""
    tx.execute(update(tables.segments).where(named).values(removed_version=version))


def removed_at(tx: Transaction, task: str, version: int) -> list[Segment]:
    """Return the segments of a task that a stream version took out."""
    return tx.values(_ALL.where(_segments.task == task, _segments.removed_version == version), Segment)


def put_back(tx: Transaction, found: Sequence[Segment], *, version: int, at: datetime) -> None:
    """Make segments visible again at their place in the order.

    They get new rows for the same files, so that what readers of former versions see stays true.
    """
    again = [
        replace(
            segment,
            fid=new_fid(at),
            added_version=version,
            removed_version=None,
            idempotency_key=None,  # stays with the row that the upload made
            created_at=at,
        )
        for segment in found
    ]
    tx.execute(_ADD, [asdict(segment) for segment in again])


def forget(tx: Transaction, task: str) -> None:
    """Delete the rows of a task's segments; their files are garbage from here on."""
    tx.execute(delete(tables.segments).where(_segments.task == task))


def named(tx: Transaction, paths: Collection[str]) -> set[str]:
    """Return those of the paths that a segment names."""
    return set(tx.execute(select(_segments.path).where(_segments.path.in_(paths))).scalars())


def _visible_at(version: int) -> ColumnElement[bool]:
    return (_segments.added_version <= version) & or_(
        _segments.removed_version > version, _segments.removed_version == null()
    )
