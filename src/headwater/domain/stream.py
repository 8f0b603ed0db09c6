"""A stream: the ordered list of the change sets that were put on it."""

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
    #: The highest layer that was given out; the next segment lies on top of it.
    top_layer: int
    #: Number of current documents as of ``docs_version``.
    docs: int
    #: The stream version at which ``docs`` was counted.
    docs_version: int
    #: The first stream version that can still be asked for: what only earlier ones showed is purged.
    purged_version: int
    created_at: datetime
    updated_at: datetime
    version: int
    meta: dict[str, Any]

    def remembers(self, version: int) -> bool:
        """Whether the stream can still be shown as it was at a version; before its first one it was empty."""
        return version == 0 or self.purged_version <= version <= self.stream_version


class Change(StrEnum):
    """What a stream version did, in the stream's log."""

    UPLOAD = "upload"
    #: Lines that were kept aside came in after all.
    REPLAY = "replay"
    PUBLISH = "publish"
    REPLACE = "replace"
    #: A gate took out what an attempt had shown while it ran.
    WITHHOLD = "withhold"
    REMOVE = "remove"
    RESTORE = "restore"
    ERASE = "erase"


#: What tells of documents of an attempt as they come in.
ARRIVALS = frozenset({Change.UPLOAD, Change.REPLAY})
#: What tells that an attempt took its place: with it came those to show that waited, and that no line tells of.
LETTING_IN = frozenset({Change.PUBLISH, Change.REPLACE})


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One line of a stream's log: a stream version, and what made it."""

    stream: str
    version: int
    at: datetime
    change: Change
    #: The task that it came from; None if it was none, or several.
    task: str | None = None
    attempt: int | None = None
    #: The tasks that went or came back together.
    tasks: list[str] | None = None
    #: Document versions that came into the stream or went out of it.
    docs: int


def arrival_of(lines: Sequence[LogEntry], place: int, *, total: int | None = None) -> LogEntry | None:
    """Return the arrival that brought the document at a place of an attempt; None if it came while others waited.

    ``lines`` are the attempt's arrivals and what let it in, oldest first, and ``total`` the number of its
    documents, where that is known: those that no arrival tells of came before it was let in, or last.
    """
    told = sum(line.docs for line in lines if line.change in ARRIVALS)
    untold = max(0, (told if total is None else total) - told)
    behind = 0
    for line in lines:
        is_arrival = line.change in ARRIVALS
        behind += line.docs if is_arrival else untold
        if place < behind:
            return line if is_arrival else None
    return None


@dataclass(frozen=True, kw_only=True)
class Segment:
    """An immutable file, or rows in the catalog, with documents of one attempt of one task."""

    fid: str
    stream: str
    task: str
    attempt: int
    #: Its place in the order of the stream: of two versions of a document the higher layer shows.
    layer: int
    #: Where its file lies in the lake.
    path: str
    docs: int
    #: No id in the file is lower (UTF-8 bytes, which is how DuckDB orders text).
    min_id: bytes
    #: No id in the file is higher.
    max_id: bytes
    # Below the ids: in the class body, the name hides the type.
    #: Size of its documents in bytes, as they were uploaded and decompressed.
    bytes: int
    #: Documents of the attempt that came before those of this segment: ``base + pos`` is the place in the attempt.
    base: int
    #: Whether compaction has nothing more to gain from it.
    is_compact: bool = False
    #: The stream version that made it visible; None while its task has not been published.
    added_version: int | None
    #: The stream version from which on it shows as a whole, where it is merged from several uploads:
    #: before, it shows the documents that had come by then. None: it always showed as a whole.
    whole_version: int | None = None
    #: The stream version that took it out again; None while it is in.
    removed_version: int | None
    created_at: datetime

    @property
    def is_inlined(self) -> bool:
        """Whether the catalog keeps it itself, and there is no file."""
        return is_inlined(self.path)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A segment that was written: its file on disk, or so little that the catalog is to keep it, and what it holds."""

    path: str
    docs: int
    min_id: bytes
    max_id: bytes
    #: Its rows, where it has no file.
    packed: bytes | None = None
    # Below the others: in the class body, the name hides the type.
    #: Size of the documents in bytes.
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """Which of a stream's segments a reader looks at."""

    #: The stream version that is looked at.
    version: int
    #: Tasks that are looked past, as if they had not run.
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A segment as a reader sees it."""

    segment: Segment
    #: Documents at this ``pos`` or behind it had not come yet; None if the whole segment is seen.
    until: int | None = None


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """What is kept of a document that was erased for good, for those who follow the stream."""

    stream: str
    #: The stream version that erased it.
    version: int
    doc_id: bytes
    #: At which versions it had shown: pairs of the first one, and the first at which it did not any more, or None.
    shown: list[tuple[int, int | None]]

    def showed_at(self, version: int) -> bool:
        """Whether the stream showed the document at a version."""
        return any(first <= version and (end is None or version < end) for first, end in self.shown)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of documents, of each id that was touched."""

    #: Nothing showed before.
    added: int = 0
    #: Another text showed before.
    changed: int = 0
    #: The same text showed before.
    unchanged: int = 0
    #: Nothing shows after.
    removed: int = 0


#: Where segments lie that the catalog keeps itself, for it has no folders.
_INLINED = "inlined/"


def inlined_path(segment: str) -> str:
    """Return the path of a segment that the catalog keeps itself until it is merged."""
    return _INLINED + segment


def is_inlined(path: str) -> bool:
    """Tell whether a path is one of those that no file lies at."""
    return path.startswith(_INLINED)


def segment_path(*, stream: str, task: str, segment: str) -> str:
    """Return where a segment's file lies: Hive style, so that the task is a column to other readers."""
    return f"streams/{stream}/task={task}/{segment}.parquet"


#: Ids longer than this many bytes are cut in a segment's bounds, which stay true but less sharp.
LONGEST_BOUND = 128


def id_bounds(lowest: str, highest: str) -> tuple[bytes, bytes]:
    """Return bytes that no id between ``lowest`` and ``highest`` is below, and none above."""
    low, high = lowest.encode(), highest.encode()
    # 0xff is in no UTF-8 text, so it sorts behind whatever was cut off.
    return low[:LONGEST_BOUND], high if len(high) <= LONGEST_BOUND else high[:LONGEST_BOUND] + b"\xff"
