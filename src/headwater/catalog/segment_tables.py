"""Which segments of a stream a reader sees.

The rows of a stream's segments are cached as a table, by process and stream, and extended by what has changed since:
rows with a later version or layout. Only if rows have vanished, all are read again.
"""

import numpy as np
from sqlalchemy import ColumnElement, select

from headwater.catalog import streams, tables
from headwater.catalog.core.transaction import Transaction, batched
from headwater.domain.segment_table import COLUMNS, WHOLE, Row, SegmentTable, VisibleSegments
from headwater.domain.stream import Visibility

_segments = tables.segments.c
_streams = tables.streams.c
_ROWS = select(*(_segments[name] for name in COLUMNS))


def visible(tx: Transaction, stream: str, visibility: Visibility) -> VisibleSegments:
    """Return the segments of a stream that are visible to a reader."""
    table = table_of(tx, stream)
    shown = table.is_shown_at(visibility.version)
    if visibility.without:
        shown &= ~table.is_of(visibility.without)
    until = np.where(shown, WHOLE, 0)
    partial = np.flatnonzero(shown & (table.whole_version > visibility.version))
    for row in partial.tolist():
        segment = table.segment(row)
        arrived = streams.arrived_by(tx, segment.task, segment.attempt, version=visibility.version)
        until[row] = max(0, arrived - segment.base)
    return VisibleSegments(table, until)


def table_of(tx: Transaction, stream: str) -> SegmentTable:
    """Return the rows of all segments that a stream has ever shown; empty if there is no such stream."""
    wanted = select(_streams.stream_version, _streams.layout, _streams.layout_reset).where(_streams.fid == stream)
    found = tx.execute(wanted).one_or_none()
    if found is None:
        return SegmentTable(stream, [])
    version, layout, layout_reset = (int(value) for value in found)
    known = tx.recall(SegmentTable, stream)
    if known is not None and (known.version, known.layout) == (version, layout):
        return known
    if known is None or known.layout < layout_reset or known.version > version or known.layout > layout:
        rows = _rows(tx, stream, _segments.added_version.is_not(None))
        table = SegmentTable(stream, rows, version=version, layout=layout)
    else:
        table = _extended(tx, known, version=version, layout=layout)
    tx.remember(SegmentTable, stream, table, size=len(table))
    return table


def _extended(tx: Transaction, known: SegmentTable, *, version: int, layout: int) -> SegmentTable:
    stream = known.stream
    rows = [
        *_rows(tx, stream, _segments.added_version > known.version),
        *_rows(tx, stream, _segments.removed_version > known.version),
    ]
    moved: list[Row] = []
    if layout > known.layout:
        # Of a task whose segments were merged, rows may have vanished.
        moved = _rows(tx, stream, _segments.layout > known.layout, _segments.layout > 0)
    tasks = sorted({row[COLUMNS.index("task")] for row in moved})
    for some in batched(tasks):
        rows += _rows(tx, stream, _segments.task.in_(some), _segments.added_version.is_not(None))
    return known.extended(rows, but=set(tasks), version=version, layout=layout)


def _rows(tx: Transaction, stream: str, *where: ColumnElement[bool]) -> list[Row]:
    return [tuple(row) for row in tx.execute(_ROWS.where(_segments.stream == stream, *where))]


def holding(tx: Transaction, stream: str, doc_id: str) -> VisibleSegments:
    """Return every segment of a stream that may contain a document, visible or not."""
    table = table_of(tx, stream)
    waiting = _rows(tx, stream, _segments.added_version.is_(None))
    if waiting:
        table = table.extended(waiting, but=(), version=table.version, layout=table.layout)
    return table.visible(~table.is_floor).holding(doc_id, doc_id)
