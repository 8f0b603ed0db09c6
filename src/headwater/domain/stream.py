"""A stream: the ordered list of the change sets that were put on it."""

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
    created_at: datetime
    updated_at: datetime
    version: int
    meta: dict[str, Any]


class Change(StrEnum):
    """What a stream version did, in the stream's log."""

    UPLOAD = "upload"
    PUBLISH = "publish"
    REPLACE = "replace"
    REMOVE = "remove"
    RESTORE = "restore"


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One line of a stream's log: a stream version, and what made it."""

    stream: str
    version: int
    at: datetime
    change: Change
    task: str
    attempt: int
    #: Document versions that it put into the stream (removed, replaced: took out of it).
    docs: int


@dataclass(frozen=True, kw_only=True)
class Segment:
    """An immutable file with documents of one attempt of one task."""

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
    #: The stream version that made it visible; None while its task has not been published.
    added_version: int | None
    #: The stream version that took it out again; None while it is in.
    removed_version: int | None
    #: Documents of the attempt up to and with this segment: what its upload answered as ``total``.
    total: int
    idempotency_key: str | None
    #: SHA-256 of the decompressed upload; only kept beside an idempotency key.
    body_digest: str | None
    created_at: datetime

    def visible_at(self, version: int) -> bool:
        """Whether the stream shows this segment at a stream version."""
        return (
            self.added_version is not None
            and self.added_version <= version
            and (self.removed_version is None or version < self.removed_version)
        )


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """Which of a stream's segments a reader looks at."""

    #: The stream version that is looked at.
    version: int


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
