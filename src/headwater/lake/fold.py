"""Folds: writes the documents of many segments to one file, in id order, so that readers open few files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa

from headwater.domain.segment_table import VisibleSegments, all_of
from headwater.domain.stream import Segment, WrittenSegment
from headwater.lake import current
from headwater.lake.engine import Engine, size_of
from headwater.lake.merge import together
from headwater.lake.segment import FOLDED, FOLDED_ROW_GROUP_BYTES, SegmentWriter
from headwater.lake.segment_format import Origin
from headwater.lake.store import Store

# Of a segment that was not folded before, only the last version of each id is kept among those that became visible
# together (as in a merge). Of settled segments, which no reader sees without the others, only the newest version is.
_MOVED = """
    WITH moved AS (
        SELECT v.doc_id, v.pos + s.shift AS pos, v.doc, s.target AS part, s.task, v.text_hash, s.is_new, s.is_settled,
            s.layer << 32 | (v.pos + s.shift) AS rank,
            CASE WHEN s.together < 0 THEN -1 - s.shift - v.pos ELSE s.together END AS together
        FROM all_of(files) v JOIN sources s USING (part)
        WHERE (v.doc_id > $after OR $after IS NULL) AND (v.doc_id <= $bound OR $bound IS NULL)
    )
    SELECT doc_id, pos, doc, part, task, text_hash FROM moved
    WHERE {conditions}
    ORDER BY doc_id, rank
"""
_IS_LAST = "(NOT is_new OR rank IN (SELECT max(rank) FROM moved WHERE is_new GROUP BY doc_id, part, together))"
_IS_NEWEST = "(NOT is_settled OR rank IN (SELECT max(rank) FROM moved WHERE is_settled GROUP BY doc_id))"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the file to be written."""

    number: int
    #: The segments whose documents it holds, in order of arrival: one, or several of one attempt.
    segments: Sequence[Segment]
    #: Whether its run cannot be undone any more, so that versions which others cover are left out.
    is_settled: bool = False

    @property
    def is_new(self) -> bool:
        """Whether its documents come from unfolded segments."""
        return self.segments[0].part == 0


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A folded file that was written."""

    #: None if no document is left.
    file: WrittenSegment | None
    #: Number and size of the documents of each part.
    docs: dict[int, int]
    bytes: dict[int, int]


def fold(
    engine: Engine, store: Store, parts: Sequence[Part], path: str, *, staged_as: str, origin: Origin | None = None
) -> Folded:
    """Write the documents of ``parts`` to one file, which is on disk when this returns.

    Raises:
        SegmentDamaged: a file is damaged; nothing is written then.
    """
    seen = all_of([segment for part in parts for segment in part.segments])
    engine.require_intact(seen.files)
    docs: dict[int, int] = {}
    sizes: dict[int, int] = {}
    writer = SegmentWriter(
        store, path, staged_as=staged_as, row_group_bytes=FOLDED_ROW_GROUP_BYTES, origin=origin, form=FOLDED
    )
    try:
        for batch in _moved(engine, parts, seen):
            _count(batch, docs, sizes)
            for piece, size in _pieces(batch):
                writer.add(piece, size=size)
        return Folded(file=writer.finish(), docs=docs, bytes=sizes)
    except BaseException:
        writer.discard()
        raise


def _moved(engine: Engine, parts: Sequence[Part], seen: VisibleSegments) -> Iterator[pa.RecordBatch]:
    bounds = current.bounds(engine, seen)
    conditions = [_IS_LAST] if any(part.is_new for part in parts) else []
    conditions += [_IS_NEWEST] if any(part.is_settled for part in parts) else []
    query = _MOVED.format(conditions=" AND ".join(conditions) or "true")
    tables = {"sources": _sources(parts, seen.table.part)}
    for after, bound in zip([None, *bounds], [*bounds, None], strict=True):
        asked = {"after": after, "bound": bound}
        yield from engine.batches(query, asked, reads={"files": seen.files}, tables=tables)


def _sources(parts: Sequence[Part], numbers: Any) -> pa.Table:
    """Return what becomes of each segment's documents; ``numbers`` are their present parts, in the same order."""
    rows = [
        {
            "target": part.number,
            "layer": part.segments[-1].layer,
            "task": segment.task,
            "shift": segment.base - part.segments[0].base,
            "together": together(segment),
            "is_new": part.is_new,
            "is_settled": part.is_settled,
        }
        for part in parts
        for segment in part.segments
    ]
    table = cast("Any", pa.Table).from_pylist(rows)
    return table.append_column("part", pa.array(numbers, pa.int64()))


def _count(batch: pa.RecordBatch, docs: dict[int, int], sizes: dict[int, int]) -> None:
    """Add up the documents of each part."""
    columns = cast("Any", batch)
    numbers, place = np.unique(np.asarray(columns.column("part")), return_inverse=True)
    counts = np.bincount(place)
    weights = np.bincount(place, weights=_lengths(columns.column("doc")))
    for number, count, weight in zip(numbers.tolist(), counts.tolist(), weights.tolist(), strict=True):
        docs[number] = docs.get(number, 0) + count
        sizes[number] = sizes.get(number, 0) + int(weight)


def _pieces(batch: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield a batch in parts of about half a row group, each with the size of its different texts."""
    columns = cast("Any", batch)
    hashes = np.asarray(columns.column("text_hash"))
    lengths = np.where(np.append(True, hashes[1:] != hashes[:-1]), _lengths(columns.column("doc")), 0)
    total = size_of(columns.column("doc"))
    # By all texts if they are large: those that repeat are in memory, too.
    pieces = max(1, -(-int(lengths.sum()) * 2 // FOLDED_ROW_GROUP_BYTES), -(-total // (16 * FOLDED_ROW_GROUP_BYTES)))
    rows = max(1, min(FOLDED.most_rows // 2, -(-batch.num_rows // pieces)))
    for start in range(0, batch.num_rows, rows):
        yield columns.slice(start, rows), int(lengths[start : start + rows].sum())


def _lengths(texts: Any) -> Any:
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.diff(offsets)
