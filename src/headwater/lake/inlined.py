"""Rows of small segments, stored in the catalog until compaction (data inlining).

The stored value is an Arrow IPC record batch (https://arrow.apache.org/docs/format/Columnar.html) with the columns
of a segment, preceded by a digest of it and of its path, which is verified whenever it is unpacked.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa

from headwater.domain.errors import Unavailable
from headwater.domain.segment_table import SegmentFile
from headwater.lake.segment import PackedDamaged, unpack
from headwater.lake.segment_format import SCHEMA

#: Bytes of rows that are cached.
MOST_HELD = 64 << 20


class RowsDamaged(Exception):
    """The rows of a segment are damaged."""

    def __init__(self, file: SegmentFile, fault: str) -> None:
        super().__init__(f"segment {file.fid}: {fault}")
        self.file = file
        self.fault = fault


class Inlined:
    """The rows of small segments, fetched on demand and cached; thread-safe."""

    def __init__(self, fetch: Callable[[Sequence[str]], Mapping[str, bytes]], *, most_held: int = MOST_HELD) -> None:
        """Use ``fetch`` to get packed rows by path: empty bytes if they are lost, absent if they were merged."""
        self._fetch = fetch
        self._most_held = most_held
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def batches(self, files: Sequence[SegmentFile]) -> list[pa.RecordBatch]:
        """Return the rows of each segment.

        Raises:
            RowsDamaged: the rows of one of them are damaged.
                Unavailable: one of them was deleted meanwhile.
        """
        packed = self._packed([file.path for file in files])
        return [self._unpacked(file, packed[file.path]) for file in files]

    def table(self, files: Sequence[SegmentFile]) -> pa.Table:
        """Return the rows of all segments, each row with the number of its ``part``.

        Raises:
            RowsDamaged: the rows of one of them are damaged.
                Unavailable: one of them was deleted meanwhile.
        """
        batches = self.batches(files)
        parts = np.repeat(np.array([file.part for file in files], np.int64), [batch.num_rows for batch in batches])
        table = cast("Any", pa.Table).from_batches(batches, schema=SCHEMA)
        return table.append_column("part", pa.array(parts))

    def fault(self, file: SegmentFile) -> str | None:
        """Return what is wrong with the rows of a segment, or None.

        Raises:
            Unavailable: it was deleted meanwhile.
        """
        try:
            self.batches([file])
        except RowsDamaged as error:
            return error.fault
        return None

    def _unpacked(self, file: SegmentFile, packed: bytes) -> pa.RecordBatch:
        try:
            return unpack(packed, file.path)
        except PackedDamaged as error:
            with self._lock:  # not cached, so that it is fetched again once it is repaired
                if (held := self._held.pop(file.path, None)) is not None:
                    self._size -= len(held)
            raise RowsDamaged(file, str(error)) from error

    def _packed(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        with self._lock:
            found = {path: self._held[path] for path in paths if path in self._held}
            for path in found:
                self._held.move_to_end(path)
        if missing := [path for path in paths if path not in found]:
            fetched = self._fetch(missing)
            if len(fetched) < len(missing):
                raise Unavailable("what is asked for was merged while it was read; ask again", retry_after=1)
            found |= fetched
            self._hold(fetched)
        return found

    def _hold(self, fetched: Mapping[str, bytes]) -> None:
        with self._lock:
            for path, packed in fetched.items():
                if path not in self._held:
                    self._held[path] = packed
                    self._size += len(packed)
            while self._size > self._most_held:
                _, packed = self._held.popitem(last=False)
                self._size -= len(packed)
