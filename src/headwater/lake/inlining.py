"""Rows of small segments, which the catalog keeps itself until they are merged (data inlining).

What is kept is an Arrow record batch as it goes over a wire (https://arrow.apache.org/docs/format/Columnar.html),
with the columns of a segment.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.domain.errors import Unavailable
from headwater.domain.stream import Segment
from headwater.lake.segment import SCHEMA, unpack
from headwater.lake.store import LocalStore

#: Bytes of rows that are held so that they need not be fetched again.
MOST_HELD = 64 << 20


class Inlined:
    """The rows of small segments, fetched when they are asked for; used from many threads."""

    def __init__(self, fetch: Callable[[Sequence[str]], Mapping[str, bytes]], *, most_held: int = MOST_HELD) -> None:
        """Get them from ``fetch``, by their paths, packed."""
        self._fetch = fetch
        self._most_held = most_held
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def batches(self, paths: Sequence[str]) -> list[pa.RecordBatch]:
        """Return the rows of each.

        Raises:
            Unavailable: one of them is not kept any more.
        """
        packed = self._packed(paths)
        return [unpack(packed[path]) for path in paths]

    def table(self, paths: Sequence[str]) -> pa.Table:
        """Return the rows of all, each with its path as ``filename``.

        Raises:
            Unavailable: one of them is not kept any more.
        """
        batches = self.batches(paths)
        places = np.repeat(np.arange(len(paths), dtype=np.int32), [batch.num_rows for batch in batches])
        names = cast("Any", pa.DictionaryArray).from_arrays(places, pa.array(paths, pa.string()))
        table = cast("Any", pa.Table).from_batches(batches, schema=SCHEMA)
        return table.append_column("filename", names.cast(pa.string()))

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


#: Rows of a file that are read at a time: about so many bytes of documents, and no more than so many.
_BYTES = 8 << 20
_ROWS = 8192


def batches_of(store: LocalStore, inlined: Inlined, segment: Segment) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a segment in their order, whether it is a file or not."""
    if segment.is_inlined:
        yield from inlined.batches([segment.path])
        return
    rows = max(1, min(_ROWS, _BYTES * segment.docs // max(1, segment.bytes)))
    with pq.ParquetFile(store.locate(segment.path)) as file:
        yield from cast("Any", file).iter_batches(rows)
