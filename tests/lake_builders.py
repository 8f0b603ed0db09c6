"""Segments on disk, for tests."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pytest

from headwater.domain.segment_table import WHOLE, SegmentFile, VisibleSegments, all_of, table_of
from headwater.domain.stream import Segment, segment_path
from headwater.lake import current
from headwater.lake.engine import Engine, Found
from headwater.lake.inlined import Inlined
from headwater.lake.segment import SegmentWriter
from headwater.lake.segment_format import SCHEMA
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
    return pack(store, rows, layer=layer, task=task, most_inlined=0)[0]


def pack(
    store: LocalStore,
    rows: Sequence[Row],
    *,
    layer: int = 1,
    task: str = "7" * 32,
    base: int = 0,
    most_inlined: int = 1 << 20,
) -> tuple[Segment, bytes | None]:
    """A visible segment, and what the catalog keeps of it if it is no file."""
    fid = uuid4().hex
    path = segment_path(stream=STREAM, task=task, segment=fid)
    writer = SegmentWriter(store, path, staged_as=fid, most_inlined=most_inlined)
    writer.add(a_batch(rows), size=size_of(rows))
    written = writer.finish()
    segment = Segment(
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
        digest=written.digest,
        size=written.size,
        added_version=layer,
        removed_version=None,
        base=base,
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )
    return segment, written.packed


def flip(file: Path, bit: int) -> None:
    """Flip one bit of a file in place."""
    with file.open("r+b") as opened:
        opened.seek(bit // 8)
        byte = opened.read(1)[0]
        opened.seek(bit // 8)
        opened.write(bytes([byte ^ (1 << bit % 8)]))


def files_in(store: LocalStore) -> list[str]:
    """The paths of all files in the store, staged ones too."""
    return sorted(file.relative_to(store.root).as_posix() for file in store.root.rglob("*") if not file.is_dir())


def text_of(value: Any) -> str:
    """A document's text with a value in it."""
    return f'{{"v": {value}}}\n'


def task_of(layer: int) -> str:
    """The task that wrote a layer."""
    return f"{layer:032x}"


def seen(segments: Sequence[Segment]) -> VisibleSegments:
    """Segments that are seen whole."""
    return all_of(segments)


def views(segments: Sequence[Segment], *ends: Sequence[int | None]) -> list[VisibleSegments]:
    """Views of the same segments, each of which sees them up to its positions; None for all of one, 0 for nothing."""
    table = table_of(segments)
    return [
        VisibleSegments(table, np.array([WHOLE if end is None else end for end in side], np.int64)) for side in ends
    ]


def sides(before: Sequence[Segment], after: Sequence[Segment]) -> list[VisibleSegments]:
    """Two views, each of which sees all of its segments."""
    every = list({segment.fid: segment for segment in (*before, *after)}.values())
    ends = [[None if segment in side else 0 for segment in every] for side in (before, after)]
    return views(every, *ends)


def stored(segment: Segment) -> SegmentFile:
    """The file of a segment."""
    return all_of([segment]).files[0]


class FaultyStore(LocalStore):
    """A store whose disk does as a test says."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        #: What reading a file fails with.
        self.fault: OSError | None = None
        #: Whether damage changes no status: it comes from below the file system.
        self.is_frozen = False
        #: The paths of files that were read from beginning to end.
        self.read: list[str] = []
        self._status: dict[str, tuple[int, int, int, int, int]] = {}

    def status(self, path: str) -> tuple[int, int, int, int, int]:
        found = super().status(path)
        return self._status.setdefault(path, found) if self.is_frozen else found

    def blocks(self, path: str) -> Iterator[memoryview]:
        self.read.append(path)
        if self.fault is not None:
            raise self.fault
        return super().blocks(path)


class Lake:
    """A store with an engine over it."""

    def __init__(
        self,
        folder: Path,
        *,
        memory: int = 500 << 20,
        inlined: Inlined | None = None,
        store: LocalStore | None = None,
    ) -> None:
        self.store = store or LocalStore(folder / "lake")
        self.spill = folder / "spill"
        self.engine = Engine(self.store, memory=memory, spill=self.spill, threads=2, inlined=inlined)

    def keep(self, history: Sequence[Sequence[Row]]) -> list[Segment]:
        """Write a history's segments; they come back in no order of theirs."""
        written = [write(self.store, rows, layer=layer, task=task_of(layer)) for layer, rows in enumerate(history)]
        return written[1::2] + written[::2]

    def page(self, segments: Sequence[Segment], **asked: Any) -> list[Found]:
        """A page of what the segments show."""
        return current.page(self.engine, seen(segments), **asked)

    def one(self, segments: Sequence[Segment], doc_id: str) -> Found | None:
        """One document that the segments show."""
        return current.one(self.engine, seen(segments), doc_id)

    def count(self, segments: Sequence[Segment]) -> int:
        """How many documents the segments show."""
        return current.count(self.engine, seen(segments))

    def export(self, segments: Sequence[Segment]) -> Iterator[pa.RecordBatch]:
        """All documents that the segments show, range by range."""
        bounds = current.bounds(self.engine, seen(segments))
        for after, bound in zip([None, *bounds], [*bounds, None], strict=True):
            yield from current.between(self.engine, seen(segments), after=after, bound=bound)

    def exported(self, segments: Sequence[Segment]) -> list[Found]:
        """The same, one by one."""
        return [
            Found(id=row["doc_id"], task=row["task"], text=row["doc"])
            for batch in self.export(segments)
            for row in batch.to_pylist()
        ]

    def pages(self, segments: Sequence[Segment], *, limit: int) -> list[Found]:
        """Page through everything."""
        found, after = [], None
        while page := self.page(segments, after=after, limit=limit):
            found += page
            after = page[-1].id
        return found

    def arrivals(self, segment: Segment, *, limit: int) -> list[tuple[int, Found]]:
        """Page through a segment in order of arrival."""
        found, after = [], -1
        while page := current.arrived(self.engine, segment, after=after, limit=limit):
            found += page
            after = page[-1][0]
        return found
