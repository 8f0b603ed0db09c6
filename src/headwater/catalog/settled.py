"""Settled runs: those that cannot be undone any more, since their stream keeps undo for some days only.

A run is settled if it ended before the stream's ``settled_at`` and the oldest readable version of the stream shows it.
Then no view can be without it, so that folding may leave out the versions that other settled runs cover.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select, update

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction, batched
from headwater.domain.errors import RunSettled
from headwater.domain.stream import Stream

_segments = tables.segments.c
_streams = tables.streams.c
_tasks = tables.tasks.c


def require_undoable(tx: Transaction, stream: Stream, fids: Collection[str]) -> None:
    """Raise if one of the tasks of a stream is settled.

    Raises:
        RunSettled: one is.
    """
    found = [fid for some in batched(sorted(fids)) for fid in _settled(tx, stream, _tasks.fid.in_(some))]
    if found:
        task = tx.execute(select(_tasks.ended_at).where(_tasks.fid == found[0])).scalar_one()
        others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise RunSettled(
            f"task {found[0]}{others} ended at {task:%Y-%m-%d %H:%M} UTC and is settled: runs of stream {stream.fid} "
            f"that ended by {stream.settled_at:%Y-%m-%d %H:%M} UTC cannot be undone; undo_days of the stream says for "
            "how long a run can be"
        )


def tasks_of(tx: Transaction, stream: Stream) -> set[str]:
    """Return the settled tasks of a stream."""
    return set(_settled(tx, stream, _tasks.stream == stream.fid))


def _settled(tx: Transaction, stream: Stream, those: ColumnElement[bool]) -> Sequence[str]:
    if stream.settled_at is None:
        return []
    shown = (_segments.task == _tasks.fid) & _segments.removed_version.is_(None)
    is_shown = select(_segments.fid).where(shown, _segments.added_version <= stream.purged_version).exists()
    wanted = select(_tasks.fid).where(
        those, _tasks.ended_at <= stream.settled_at, _tasks.removed_at.is_(None), is_shown
    )
    return list(tx.execute(wanted.order_by(_tasks.ended_at)).scalars())


def due(tx: Transaction, *, at: datetime) -> list[tuple[str, datetime, int | None]]:
    """Return the streams in which runs settle: until when, and the version that each had then.

    None for a stream without a version from before that is still readable.
    """
    log = tables.stream_log.c
    found: list[tuple[str, datetime, int | None]] = []
    columns = (_streams.fid, _streams.undo_days, _streams.purged_version)
    for row in tx.execute(select(*columns).where(_streams.undo_days.is_not(None))):
        until = at - timedelta(days=row.undo_days)
        is_behind = log.version > row.purged_version
        stood = select(func.max(log.version)).where(log.stream == row.fid, log.at <= until, is_behind)
        found.append((row.fid, until, tx.execute(stood).scalar_one()))
    return found


def settle(tx: Transaction, stream: str, *, until: datetime) -> None:
    """Record that runs which ended by then are settled, unless later ones are already."""
    is_later = (_streams.settled_at.is_(None)) | (_streams.settled_at < until)
    tx.execute(update(tables.streams).where(_streams.fid == stream, is_later).values(settled_at=until))
