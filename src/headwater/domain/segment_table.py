"""The segments of a stream as columns, and which of them a reader sees.

A stream may have a hundred thousand segments, so that questions about visibility are answered by array operations.

A row may be a *floor*: it holds no documents, and while it is visible, it hides all rows of lower layers. So what a
reader sees is computed in one place, ``VisibleSegments``, and no query needs to know of such floors. A floor with a
scope hides documents, by what they contain: ``lake/hidden`` does that, and deletions.

A *part* is the documents of one segment in one file. Its number identifies it in queries: a folded file, which holds
the documents of many segments, stores the number with each document; in other files and in inlined rows, all documents
belong to one part, whose negative number follows from the file's place in the table.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headwater.domain.filter import Comparison, scope_of
from headwater.domain.stream import Segment, is_floor, is_inlined

#: A position beyond all documents: the whole segment is visible up to it.
WHOLE = 1 << 40
#: A version later than all others: the segment is not removed.
NEVER = 1 << 62

Integers: TypeAlias = "NDArray[np.int64]"

#: The columns of a row, in this order: those of the catalog's segments.
COLUMNS = (
    "fid", "task", "attempt", "layer", "path", "part", "docs", "bytes", "min_id", "max_id", "base",
    "added_version", "whole_version", "removed_version", "created_at", "digest", "size", "damaged_at", "is_compact",
    "deletions", "scope",
)  # fmt: skip
Row: TypeAlias = tuple[Any, ...]
_AT = {name: place for place, name in enumerate(COLUMNS)}
_INTEGERS = (
    *("attempt", "layer", "docs", "bytes", "base", "added_version", "whole_version", "removed_version"),
    "deletions",
)
_OBJECTS = ("fid", "min_id", "max_id", "created_at")
#: What stands for a missing value.
_MISSING = {"removed_version": NEVER, "whole_version": 0, "added_version": NEVER}


@dataclass(frozen=True, kw_only=True)
class SegmentFile:
    """A file of the lake, or inlined rows, with the documents of one segment or, if it is folded, of many."""

    stream: str
    path: str
    #: The fid of its segment, and the segment's task; the file's name and None if it is folded.
    fid: str
    task: str | None
    #: Number and size of the documents in it that the catalog knows, and bounds of their ids.
    docs: int
    min_id: bytes
    max_id: bytes
    digest: str | None
    size: int | None
    #: When it was found damaged; None if no damage is known.
    damaged_at: datetime | None
    #: The number of its part; 0 if it is folded.
    part: int
    # After the others: in the class body, the name hides the type.
    bytes: int

    @property
    def is_inlined(self) -> bool:
        """Whether it is stored in the catalog, without a file."""
        return is_inlined(self.path)

    @property
    def is_folded(self) -> bool:
        """Whether it holds the documents of many segments."""
        return self.part == 0


class SegmentTable:
    """Rows of a stream's segments; immutable."""

    def __init__(
        self,
        stream: str,
        rows: Sequence[Row],
        *,
        version: int = 0,
        layout: int = 0,
        behind: "SegmentTable | None" = None,
    ) -> None:
        """Hold ``rows``, as of a stream version and layout; ``behind`` those of another table, if one is given."""
        self.stream = stream
        #: The stream version and the layout that the table is up to date with.
        self.version = version
        self.layout = layout
        self._rows: Sequence[Row] = rows
        self._files: dict[str, int] = {}
        self._tasks: dict[str, int] = {}
        if behind is not None:
            before = vars(behind)
            self._rows = [*before["_rows"], *rows]
            self._files, self._tasks = dict(before["_files"]), dict(before["_tasks"])
        columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
        made: dict[str, NDArray[Any]] = {}
        for name in _INTEGERS:
            values = columns[_AT[name]]
            if name in _MISSING:
                values = [_MISSING[name] if value is None else value for value in values]
            made[name] = np.array(values, np.int64)
        for name, known in (("task", self._tasks), ("path", self._files)):
            made[name] = np.array([known.setdefault(value, len(known)) for value in columns[_AT[name]]], np.int32)
        made["file"] = made.pop("path")
        stored = np.array(columns[_AT["part"]], np.int64)
        made["part"] = np.where(stored == 0, -1 - made["file"].astype(np.int64), stored)
        made["is_compact"] = np.array(columns[_AT["is_compact"]], bool)
        made["is_floor"] = np.array([is_floor(path) for path in columns[_AT["path"]]], bool)
        made["is_scoped"] = np.array([scope is not None for scope in columns[_AT["scope"]]], bool)
        for name, values in made.items():
            setattr(self, name, values if behind is None else np.concatenate([getattr(behind, name), values]))
        self.attempt: Integers
        self.layer: Integers
        self.docs: Integers
        self.bytes: Integers
        self.base: Integers
        self.added_version: Integers
        self.whole_version: Integers
        self.removed_version: Integers
        #: How many deletions each row holds at most.
        self.deletions: Integers
        self.task: NDArray[np.int32]
        self.file: NDArray[np.int32]
        #: The number of each row's part: several rows, for different periods of visibility, may have the same.
        self.part: Integers
        self.is_compact: NDArray[np.bool_]
        #: Which rows hold no documents, and hide those of lower layers.
        self.is_floor: NDArray[np.bool_]
        #: Which of them hide only documents that match a scope.
        self.is_scoped: NDArray[np.bool_]
        self.tasks = list(self._tasks)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    @cached_property
    def files(self) -> list[SegmentFile]:
        """The files that the rows name; ``file`` holds indexes into it."""
        return self._files_of(self._rows, first=0)

    def _files_of(self, rows: Sequence[Row], *, first: int) -> list[SegmentFile]:
        """Return the files from the index ``first`` on, which ``rows`` name."""
        grouped: list[list[Row]] = [[] for _ in range(len(self._files) - first)]
        path = _AT["path"]
        for row in rows:
            grouped[self._files[row[path]] - first].append(row)
        return [self._file_of(first + place, rows) for place, rows in enumerate(grouped)]

    @cached_property
    def _fids(self) -> frozenset[str]:
        return frozenset(row[_AT["fid"]] for row in self._rows)

    def _file_of(self, place: int, rows: list[Row]) -> SegmentFile:
        fid, task, path, part, low, high, digest, size, damaged = (
            _AT[name] for name in ("fid", "task", "path", "part", "min_id", "max_id", "digest", "size", "damaged_at")
        )
        first, is_folded = rows[0], rows[0][part] != 0
        # A part that has several rows counts once.
        parts = {row[part]: row for row in rows}.values()
        return SegmentFile(
            stream=self.stream,
            path=first[path],
            fid=file_name(first[path]) if is_folded else first[fid],
            task=None if is_folded else first[task],
            docs=sum(row[_AT["docs"]] for row in parts),
            bytes=sum(row[_AT["bytes"]] for row in parts),
            min_id=min(row[low] for row in rows),
            max_id=max(row[high] for row in rows),
            digest=first[digest],
            size=first[size],
            damaged_at=next((row[damaged] for row in rows if row[damaged] is not None), None),
            part=0 if is_folded else -1 - place,
        )

    def extended(self, rows: Iterable[Row], *, but: Collection[str], version: int, layout: int) -> "SegmentTable":
        """Return a table with new rows instead of those with the same fid, and those of the tasks ``but``."""
        fid, task = _AT["fid"], _AT["task"]
        new = {row[fid]: row for row in rows}
        if not but and self._fids.isdisjoint(new):
            return self._with_more(list(new.values()), version=version, layout=layout)
        kept = [row for row in self._rows if row[fid] not in new and row[task] not in but]
        return SegmentTable(self.stream, [*kept, *new.values()], version=version, layout=layout)

    def _with_more(self, rows: Sequence[Row], *, version: int, layout: int) -> "SegmentTable":
        """Return a table with more rows; what is known of these is kept, so that an upload costs little."""
        made = SegmentTable(self.stream, rows, version=version, layout=layout, behind=self)
        kept = vars(made)
        kept["_fids"] = self._fids.union(row[_AT["fid"]] for row in rows)
        if "files" in vars(self) and all(row[_AT["path"]] not in self._files for row in rows):
            new = SegmentTable._files_of(made, rows, first=len(self._files))
            kept["files"] = [*self.files, *new]
        return made

    def bounds(self, rows: Iterable[int]) -> tuple[bytes, bytes]:
        """Return bounds of the ids of some rows: no id is below the first or above the second."""
        low, high = _AT["min_id"], _AT["max_id"]
        found = [self._rows[row] for row in rows]
        return min((row[low] for row in found), default=b""), max((row[high] for row in found), default=b"")

    def segment(self, place: int) -> Segment:
        """Return a row as a segment."""
        values = dict(zip(COLUMNS, self._rows[place], strict=True))
        return Segment(stream=self.stream, **values)

    def segments(self) -> list[Segment]:
        """Return all rows as segments."""
        return [self.segment(place) for place in range(len(self))]

    def is_of(self, tasks: Collection[str]) -> "NDArray[np.bool_]":
        """Return which rows are of some tasks."""
        codes = [self._tasks[task] for task in tasks if task in self._tasks]
        return np.isin(self.task, codes)

    def is_shown_at(self, version: int) -> "NDArray[np.bool_]":
        """Return which rows a stream version shows, entirely or in part."""
        return (self.added_version <= version) & (self.removed_version > version)

    def visible(self, mask: "NDArray[np.bool_]") -> "VisibleSegments":
        """Return a view of the rows that ``mask`` selects, entirely visible."""
        return VisibleSegments(self, np.where(mask, WHOLE, 0))


@dataclass(frozen=True, kw_only=True)
class ScopedFloor:
    """A floor that hides only the current versions beneath it that match a scope."""

    layer: int
    scope: tuple[Comparison, ...]


class VisibleSegments:
    """What a reader sees of a stream's segments; immutable."""

    def __init__(self, table: SegmentTable, until: Integers) -> None:
        """Each row of the table is visible up to its ``until``: 0 for not at all, ``WHOLE`` for all of it.

        Visible floors among them hide the rows of lower layers.
        """
        self.table = table
        self._until = until
        is_floor = table.is_floor & (until > 0)
        floors = table.layer[is_floor & ~table.is_scoped]
        #: The lowest layer that is not hidden.
        self.floor = int(floors.max()) if len(floors) else 0
        #: The position up to which each row is visible.
        self.until: Integers = until
        if len(floors):
            self.until = np.where(table.layer < self.floor, 0, until)
        if is_floor.any():
            self.until = np.where(table.is_floor, 0, self.until)
        self._scoped = np.flatnonzero(is_floor & table.is_scoped & (table.layer > self.floor))

    def __len__(self) -> int:
        """Return the number of visible segments."""
        return int(np.count_nonzero(self.until))

    @cached_property
    def scoped_floors(self) -> tuple[ScopedFloor, ...]:
        """The visible floors with a scope, of each scope the highest."""
        highest: dict[tuple[Comparison, ...], int] = {}
        for row in self._scoped.tolist():
            scope = scope_of(self.table.segment(row).scope)
            highest[scope] = max(highest.get(scope, 0), int(self.table.layer[row]))
        return tuple(ScopedFloor(layer=layer, scope=scope) for scope, layer in highest.items())

    @cached_property
    def has_deletions(self) -> bool:
        """Whether visible segments may hold deletions."""
        return bool(self.table.deletions[self.rows].any())

    @property
    def hides(self) -> bool:
        """Whether some current versions may show nothing."""
        return self.has_deletions or bool(len(self._scoped))

    @cached_property
    def rows(self) -> Integers:
        """The places of the visible rows in the table."""
        return np.flatnonzero(self.until)

    @cached_property
    def files(self) -> list[SegmentFile]:
        """The files with visible documents."""
        every = self.table.files
        return [every[place] for place in np.unique(self.table.file[self.rows])]

    @property
    def segments(self) -> list[Segment]:
        """The visible segments, lowest layer first."""
        rows = self.rows[np.argsort(self.table.layer[self.rows], kind="stable")]
        return [self.table.segment(int(place)) for place in rows]

    def but(self, mask: "NDArray[np.bool_]") -> "VisibleSegments":
        """Return a view without the rows that ``mask`` selects."""
        return VisibleSegments(self.table, np.where(mask, 0, self._until))

    def only(self, mask: "NDArray[np.bool_]") -> "VisibleSegments":
        """Return a view of only those rows that ``mask`` selects."""
        return VisibleSegments(self.table, np.where(mask, self._until, 0))

    def plus(self, mask: "NDArray[np.bool_]") -> "VisibleSegments":
        """Return a view in which the rows that ``mask`` selects are visible, too."""
        return VisibleSegments(self.table, np.where(mask, WHOLE, self._until))

    def without(self, files: Collection[SegmentFile]) -> "VisibleSegments":
        """Return a view without some files."""
        gone = {file.path for file in files}
        if not gone:
            return self
        return self.but(np.isin(self.table.file, [at for at, one in enumerate(self.table.files) if one.path in gone]))

    def holding(self, lowest: str | None, highest: str | None) -> "VisibleSegments":
        """Return a view of only the files that may have ids from ``lowest`` to ``highest``; None is unbounded."""
        low = None if lowest is None else lowest.encode()
        high = None if highest is None else highest.encode()
        outside = [
            file
            for file in self.files
            if (low is not None and file.max_id < low) or (high is not None and file.min_id > high)
        ]
        return self.without(outside)


def table_of(segments: Sequence[Segment]) -> SegmentTable:
    """Return a table of segments of one stream."""
    rows = [tuple(getattr(segment, name) for name in COLUMNS) for segment in segments]
    return SegmentTable(segments[0].stream if segments else "", rows)


def all_of(segments: Sequence[Segment]) -> VisibleSegments:
    """Return a view in which all of some segments of one stream are visible."""
    table = table_of(segments)
    return table.visible(~table.is_floor)


def file_name(path: str) -> str:
    """Return the name of a file without folder and suffix."""
    return path.rpartition("/")[2].partition(".")[0]
