"""Segments, stream logs, and rejected lines."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    false,
    text,
)

from headwater.catalog.core.dialects import UtcDateTime
from headwater.catalog.tables.base import FID, metadata

#: True for segments that compaction has not settled; repeated literally in queries, as ``OPEN`` is.
UNSETTLED = "NOT is_compact"

segments = Table(
    "segments",
    metadata,
    Column("fid", FID, primary_key=True),
    Column("stream", FID, ForeignKey("streams.fid"), nullable=False),
    Column("task", FID, ForeignKey("tasks.fid"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("layer", BigInteger, nullable=False),
    # Not unique: a restored task's files have a row for each period of visibility.
    Column("path", Text, nullable=False),
    Column("docs", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("min_id", LargeBinary, nullable=False),
    Column("max_id", LargeBinary, nullable=False),
    Column("base", BigInteger, nullable=False),
    Column("is_compact", Boolean, nullable=False),
    Column("added_version", BigInteger),
    Column("whole_version", BigInteger),
    Column("removed_version", BigInteger),
    Column("created_at", UtcDateTime, nullable=False),
    # Of the file's bytes; null for inlined rows, and for files from before digests existed.
    Column("digest", String(64)),
    Column("size", BigInteger),
    Column("damaged_at", UtcDateTime),
    # In a folded file, the number of the segment's documents; 0 if all of the file is the segment's.
    Column("part", BigInteger, nullable=False, server_default="0"),
    Column("deletions", BigInteger, nullable=False, server_default="0"),
    # Of floors.
    Column("scope", JSON(none_as_null=True)),
    # The stream's layout at which the row last changed other than by a stream version.
    Column("layout", BigInteger, nullable=False, server_default="0"),
    Index("segments_of_stream", "stream", "added_version"),
    Index("segments_of_task", "task", "attempt"),
    Index("segments_by_path", "path", "part"),
    # What readers have not seen yet of a stream's layout.
    Index(
        "segments_by_layout",
        "stream",
        "layout",
        sqlite_where=text("layout > 0"),
        postgresql_where=text("layout > 0"),
    ),
    # For compaction and purge: few rows of many.
    Index(
        "segments_to_compact",
        "task",
        "attempt",
        sqlite_where=text(f"{UNSETTLED} AND removed_version IS NULL"),
        postgresql_where=text(f"{UNSETTLED} AND removed_version IS NULL"),
    ),
    Index(
        "segments_removed",
        "stream",
        "removed_version",
        sqlite_where=text("removed_version IS NOT NULL"),
        postgresql_where=text("removed_version IS NOT NULL"),
    ),
    Index(
        "segments_damaged",
        "task",
        sqlite_where=text("damaged_at IS NOT NULL"),
        postgresql_where=text("damaged_at IS NOT NULL"),
    ),
)

# Answers to uploads with an idempotency key: apart from the segments, which compaction merges.
receipts = Table(
    "receipts",
    metadata,
    # A key identifies one upload of an attempt, across processes.
    Column("task", FID, ForeignKey("tasks.fid", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("body_digest", String(64), nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("rejected", BigInteger),
    Column("deleted", BigInteger, nullable=False, server_default="0"),
    # JSON in UTF-8, so that it can be searched for an id.
    Column("flaws", Text),
    Column("truncated", Boolean, nullable=False, server_default=false()),
)

# Rejected lines of lenient uploads.
rejects = Table(
    "rejects",
    metadata,
    Column("task", FID, ForeignKey("tasks.fid", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("upload", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("flaws", JSON, nullable=False),
    # Binary: see erasures.
    Column("doc_id", LargeBinary),
    Column("size", BigInteger, nullable=False),
    Column("arrived", BigInteger, nullable=False),
    # Of the stored part of the line; null for lines from before digests existed.
    Column("digest", String(64)),
    # Last, as it may be long: SQLite reads a row from its start.
    Column("raw", LargeBinary, nullable=False),
)

# How much the logs of attempts hold, in files of the lake.
task_logs = Table(
    "task_logs",
    metadata,
    Column("task", FID, ForeignKey("tasks.fid", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("lines", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    # Lines that had no room.
    Column("dropped", BigInteger, nullable=False),
)

# The lines of logs where the lake is an object store, or the object that they were moved to.
log_chunks = Table(
    "log_chunks",
    metadata,
    Column("task", FID, ForeignKey("tasks.fid", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("path", Text),
    Column("at", UtcDateTime, nullable=False),
    # Whether the lines may be moved to an object.
    Column("waits", Boolean, nullable=False),
    # Last, as it may be long: SQLite reads a row from its start.
    Column("lines", LargeBinary),
    Index("log_chunks_waiting", "task", "attempt", sqlite_where=text("waits"), postgresql_where=text("waits")),
)

# The positions in their attempt of replayed documents, and the number of the rejected line of each: a later line
# lies above them, even if its position is lower.
replayed = Table(
    "replayed",
    metadata,
    Column("task", FID, ForeignKey("tasks.fid", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("place", BigInteger, primary_key=True),
    Column("seq", Integer, nullable=False),
)

# The rows of small segments, which have no file until they are merged.
inlined = Table(
    "inlined",
    metadata,
    Column("path", Text, primary_key=True),
    Column("packed", LargeBinary, nullable=False),
)

# Files that no row names any more, kept for a while for readers that have started.
garbage = Table(
    "garbage",
    metadata,
    Column("path", Text, primary_key=True),
    Column("due_at", UtcDateTime, nullable=False, index=True),
)

# Files that are about to be put to an object store; a record that stays is of a file that nothing names.
intended_files = Table(
    "intended_files",
    metadata,
    Column("path", Text, primary_key=True),
    Column("at", UtcDateTime, nullable=False, index=True),
)

# No foreign key: what a deleted stream has left is found by it, and deleted.
iceberg_snapshots = Table(
    "iceberg_snapshots",
    metadata,
    Column("stream", FID, primary_key=True),
    Column("warehouse", String(16), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("layout", BigInteger, primary_key=True),
    Column("about", Text),
    Column("files", JSON, nullable=False),
    Column("metadata", Text),
    Column("until", UtcDateTime, nullable=False),
)

# One row: where the files of the lake are; null for a data directory.
lake_place = Table(
    "lake_place",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("url", Text),
)

# Erased ids, for the change feed; deleted with the versions before them.
erasures = Table(
    "erasures",
    metadata,
    Column("stream", FID, ForeignKey("streams.fid", ondelete="CASCADE"), primary_key=True),
    # Each erasure is a stream version of its own. The id is not part of the key: indexes are for short values.
    Column("version", BigInteger, primary_key=True),
    # Binary: an id may contain U+0000, which PostgreSQL's text type cannot hold.
    Column("doc_id", LargeBinary, nullable=False),
    Column("shown", JSON, nullable=False),
)

stream_log = Table(
    "stream_log",
    metadata,
    Column("stream", FID, ForeignKey("streams.fid", ondelete="CASCADE"), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("change", String(16), nullable=False),
    # No foreign key: the log also describes deleted tasks.
    Column("task", FID),
    Column("attempt", Integer),
    Column("tasks", JSON(none_as_null=True)),
    Column("docs", BigInteger, nullable=False),
    # How much of an attempt had arrived by a version.
    Index("stream_log_of_attempt", "task", "attempt", "version"),
)
