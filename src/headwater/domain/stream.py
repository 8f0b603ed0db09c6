"""A stream: the ordered list of the change sets that were applied to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A named, versioned collection of documents, fed by one crawler at most."""

    fid: str
    #: Grows by one with each transaction that changes what the stream shows.
    stream_version: int
    #: The highest layer in use; the next segment gets the one above.
    top_layer: int
    #: Number of current documents as of ``docs_version``.
    docs: int
    #: The stream version at which ``docs`` was counted.
    docs_version: int
    #: The first readable stream version: segments that only earlier ones show are purged.
    purged_version: int
    #: Grows with each change of its segments that makes no stream version.
    layout: int = 0
    #: The last layout at which rows of segments vanished.
    layout_reset: int = 0
    #: For how many days a run can be undone; None is forever.
    undo_days: int | None = None
    #: Runs that ended by then are settled, if version ``purged_version`` shows them; None before the first.
    settled_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    version: int
    meta: dict[str, Any]

    def remembers(self, version: int) -> bool:
        """Whether a version of the stream is readable; before its first one it was empty."""
        return version == 0 or self.purged_version <= version <= self.stream_version


class Change(StrEnum):
    """The change that a stream version made, in the stream's log."""

    UPLOAD = "upload"
    #: Rejected lines were accepted by a replay.
    REPLAY = "replay"
    PUBLISH = "publish"
    REPLACE = "replace"
    #: A gate removed the documents that an attempt had shown while it ran.
    WITHHOLD = "withhold"
    REMOVE = "remove"
    RESTORE = "restore"
    ERASE = "erase"


#: Changes that add documents of an attempt.
ARRIVALS = frozenset({Change.UPLOAD, Change.REPLAY})
#: Changes that publish an attempt: its unpublished documents, which have no log entry, become visible.
LETTING_IN = frozenset({Change.PUBLISH, Change.REPLACE})


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One entry of a stream's log: a stream version, and what made it."""

    stream: str
    version: int
    at: datetime
    change: Change
    #: The task that caused it; None if none or several.
    task: str | None = None
    attempt: int | None = None
    #: The tasks that were deleted or restored together.
    tasks: list[str] | None = None
    #: Number of document versions that were added to the stream or removed from it.
    docs: int


def arrival_of(lines: Sequence[LogEntry], place: int, *, total: int | None = None) -> LogEntry | None:
    """Return the log entry by which a document at a position of an attempt arrived; None if it was unpublished.

    ``lines`` are the attempt's arrivals and its publication, oldest first, and ``total`` its number of documents, if
    known: those without an arrival came before the publication, or last.
    """
    logged = sum(line.docs for line in lines if line.change in ARRIVALS)
    unlogged = max(0, (logged if total is None else total) - logged)
    behind = 0
    for line in lines:
        is_arrival = line.change in ARRIVALS
        behind += line.docs if is_arrival else unlogged
        if place < behind:
            return line if is_arrival else None
    return None


@dataclass(frozen=True, kw_only=True)
class Segment:
    """An immutable file, or catalog rows, with documents of one attempt of one task."""

    fid: str
    stream: str
    task: str
    attempt: int
    #: Its position in the order of the stream: of two versions of a document the higher layer is current.
    layer: int
    #: The path of its file in the lake.
    path: str
    docs: int
    #: A lower bound of its ids (UTF-8 bytes, in DuckDB's order of text).
    min_id: bytes
    #: An upper bound of its ids.
    max_id: bytes
    # After the ids: in the class body, the name hides the type.
    #: Size of its documents in bytes, decompressed.
    bytes: int
    #: Number of the attempt's documents before this segment: ``base + pos`` is the position in the attempt.
    base: int
    #: Whether compaction has nothing more to gain from it.
    is_compact: bool = False
    #: The stream version that made it visible; None while its task has not been published.
    added_version: int | None
    #: The stream version from which all of it is visible, if it was merged from several uploads:
    #: before that, only the documents that had arrived by then are. None: it was always visible entirely.
    whole_version: int | None = None
    #: The stream version that removed it; None while it is not removed.
    removed_version: int | None
    created_at: datetime
    #: The digest and size of its file; None for inlined rows, and for files of older releases.
    digest: str | None = None
    size: int | None = None
    #: When its file or its rows were found damaged; None if no damage is known.
    damaged_at: datetime | None = None
    #: How many of its documents are deletions, without a text; more than there are, if some were left out meanwhile.
    deletions: int = 0
    #: Of a floor: the comparisons that the documents match which it hides; None hides all.
    scope: list[str] | None = None
    #: The number of its part in a folded file, which holds the documents of many segments; 0 if the file is its own.
    part: int = 0

    @property
    def is_inlined(self) -> bool:
        """Whether it is stored in the catalog, without a file."""
        return is_inlined(self.path)

    @property
    def is_floor(self) -> bool:
        """Whether it holds no documents, and hides those of lower layers."""
        return is_floor(self.path)


@dataclass(frozen=True, kw_only=True)
class WrittenSegment:
    """A segment that was written: its file on disk, or packed rows for the catalog, and its contents."""

    path: str
    docs: int
    min_id: bytes
    max_id: bytes
    #: Its packed rows, if it has no file.
    packed: bytes | None = None
    #: The digest and size of its file; None if it has none.
    digest: str | None = None
    size: int | None = None
    #: Whether the catalog has a record of the file, which the transaction that names it removes.
    is_intended: bool = False
    #: Its documents that are deletions.
    deletions: int = 0
    # After the others: in the class body, the name hides the type.
    #: Size of the documents in bytes.
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """Which of a stream's segments a reader sees."""

    #: The stream version.
    version: int
    #: Tasks that are left out, as if they had not run.
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """A record of an erased document, for the change feed."""

    stream: str
    #: The stream version that erased it.
    version: int
    doc_id: bytes
    #: When it was visible: pairs of the first version, and the first one after it without the document, or None.
    shown: list[tuple[int, int | None]]

    def showed_at(self, version: int) -> bool:
        """Whether the document was visible at a version."""
        return any(first <= version and (end is None or version < end) for first, end in self.shown)


@dataclass(frozen=True, kw_only=True)
class VisibleSpan:
    """A range of stream versions in which something is visible: a version of a document, or a floor."""

    #: Its layer, and its position in it: the highest version is the current one, and a floor hides lower layers.
    rank: tuple[int, int]
    is_deletion: bool = False
    first: int
    #: The first version without it; None if there is none.
    end: int | None

    def covers(self, version: int) -> bool:
        """Whether it is visible at a version."""
        return self.first <= version and (self.end is None or version < self.end)


def spans_shown(versions: Sequence[VisibleSpan], floors: Sequence[VisibleSpan]) -> list[tuple[int, int | None]]:
    """Return when a stream showed a document, of which these are the versions: pairs of first version and end."""
    every = [*versions, *floors]
    moments = sorted({one.first for one in every} | {one.end for one in every if one.end is not None})
    spans: list[tuple[int, int | None]] = []
    # Not strict: without moments, an end is left over.
    for first, end in zip(moments, [*moments[1:], None], strict=False):
        newest = max((one for one in versions if one.covers(first)), key=lambda one: one.rank, default=None)
        if newest is None or newest.is_deletion:
            continue
        if any(floor.rank[0] > newest.rank[0] for floor in floors if floor.covers(first)):
            continue
        if spans and spans[-1][1] == first:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((first, end))
    return spans


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The number of documents by how they changed, over all affected ids."""

    #: There was no document before.
    added: int = 0
    #: Another text was current before.
    changed: int = 0
    #: The same text was current before.
    unchanged: int = 0
    #: There is no document after.
    removed: int = 0


#: Prefix of the paths of inlined segments.
_INLINED = "inlined/"


def inlined_path(segment: str) -> str:
    """Return the path of an inlined segment."""
    return _INLINED + segment


def is_inlined(path: str) -> bool:
    """Return whether a path is that of an inlined segment."""
    return path.startswith(_INLINED)


#: Prefix of the paths of floors.
FLOORS = "floor/"


def floor_path(fid: str) -> str:
    """Return the path of a floor, which has no file."""
    return FLOORS + fid


def is_floor(path: str) -> bool:
    """Return whether a path is that of a floor: a row of a snapshot run, which hides the layers below it."""
    return path.startswith(FLOORS)


def segment_path(*, stream: str, task: str, segment: str) -> str:
    """Return the path of a segment's file: Hive style, so that other readers see the task as a column."""
    return f"streams/{stream}/task={task}/{segment}.parquet"


def folded_path(*, stream: str, file: str) -> str:
    """Return the path of a folded file, which holds the documents of many segments."""
    return f"streams/{stream}/folded/{file}.parquet"


#: Ids longer than this many bytes are truncated in a segment's bounds, which stay valid but less tight.
LONGEST_BOUND = 128


def id_bounds(lowest: str, highest: str) -> tuple[bytes, bytes]:
    """Return byte bounds: no id between ``lowest`` and ``highest`` is below the first or above the second."""
    low, high = lowest.encode(), highest.encode()
    # 0xff is in no UTF-8 text, so that it sorts after whatever was cut off.
    return low[:LONGEST_BOUND], high if len(high) <= LONGEST_BOUND else high[:LONGEST_BOUND] + b"\xff"
