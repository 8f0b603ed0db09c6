"""Footers of stored files: which row groups may hold an id."""

import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, cast

import pyarrow.parquet as pq

from headwater.lake.segment_format import settled_version_of
from headwater.lake.store import Store

#: Row groups whose footers are cached, of all files together: some 2 kB each.
MOST_HELD = 50_000


class _AboveAll(str):
    """An id above all others."""

    __slots__ = ()

    def __lt__(self, other: object) -> bool:
        return False

    def __le__(self, other: object) -> bool:
        return other is self

    def __gt__(self, other: object) -> bool:
        return other is not self

    def __ge__(self, other: object) -> bool:
        return True


#: Stands for the highest id of a row group if it is unknown.
_ABOVE_ALL = _AboveAll()


@dataclass(frozen=True, kw_only=True)
class Footer:
    """The footer of a file, with the ids that each row group begins and ends with."""

    metadata: pq.FileMetaData
    lowest: list[str]
    highest: list[str]
    #: Whether each row group holds higher ids than the one before, or ends with its lowest id.
    is_sorted: bool
    #: The stream version up to which a folded file has only the newest of settled versions.
    settled_version: int = 0

    def groups(self, after: str | None, bound: str | None, *, is_inclusive: bool = False) -> range | list[int]:
        """Return the row groups that may hold ids after ``after`` up to ``bound``; with ``after`` if inclusive."""
        if self.is_sorted:
            skip = bisect_left if is_inclusive else bisect_right
            first = 0 if after is None else skip(self.highest, after)
            last = len(self.lowest) if bound is None else bisect_right(self.lowest, bound)
            return range(first, max(first, last))
        return [
            group
            for group, (lowest, highest) in enumerate(zip(self.lowest, self.highest, strict=True))
            if (after is None or (highest >= after if is_inclusive else highest > after))
            and (bound is None or lowest <= bound)
        ]


class Footers:
    """Reads footers, and caches them: files never change. Thread-safe."""

    def __init__(self, store: Store) -> None:
        """Read the files of ``store``."""
        self._store = store
        self._held: OrderedDict[str, Footer] = OrderedDict()
        self._groups = 0
        self._lock = threading.Lock()

    def of(self, path: str, *, is_folded: bool) -> Footer:
        """Return the footer of a file; one that is folded is in the order of its ids.

        Raises:
            OSError, pa.ArrowException: it cannot be read.
        """
        with self._lock:
            if (footer := self._held.get(path)) is not None:
                self._held.move_to_end(path)
                return footer
        with self._store.reading([path]):
            footer = _read(self._store.locate(path), is_folded=is_folded)
        with self._lock:
            if path not in self._held:
                self._held[path] = footer
                self._groups += len(footer.lowest)
            while self._groups > MOST_HELD and len(self._held) > 1:
                _, gone = self._held.popitem(last=False)
                self._groups -= len(gone.lowest)
        return footer


def _read(location: str, *, is_folded: bool) -> Footer:
    metadata: Any = cast("Any", pq).read_metadata(location)
    column = metadata.schema.names.index("doc_id")
    bounds = [_bounds(metadata.row_group(group).column(column).statistics) for group in range(metadata.num_row_groups)]
    lowest, highest = [low for low, _ in bounds], [high for _, high in bounds]
    if is_folded:
        # Between its neighbours.
        for group, high in enumerate(highest[:-1]):
            lowest[group + 1] = lowest[group + 1] or ("" if high is _ABOVE_ALL else high)
        for group in reversed(range(len(lowest) - 1)):
            highest[group] = lowest[group + 1] if highest[group] is _ABOVE_ALL else highest[group]
    is_sorted = is_folded or all(low >= high for low, high in zip(lowest[1:], highest, strict=False))
    settled_version = settled_version_of(metadata.metadata)
    return Footer(
        metadata=metadata, lowest=lowest, highest=highest, is_sorted=is_sorted, settled_version=settled_version
    )


def _bounds(statistics: Any) -> tuple[str, str]:
    """Return bounds of a row group's ids: the writer leaves out those of long ids."""
    if statistics is None or not statistics.has_min_max:
        return "", _ABOVE_ALL
    return statistics.min, statistics.max
