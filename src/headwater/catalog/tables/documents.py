"""What documents are in, what a stream has shown, and what was kept aside."""

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

from headwater.catalog.dialects import UtcDateTime
from headwater.catalog.tables.base import FID, metadata

#: True of segments that compaction has not settled; said to the letter, as ``OPEN`` is.
UNSETTLED = "NOT is_compact"

segments = Table(
    "segments",
    metadata,
    Column("fid", FID, primary_key=True),
    Column("stream", FID, ForeignKey("streams.fid"), nullable=False),
    Column("task", FID, ForeignKey("tasks.fid"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("layer", BigInteger, nullable=False),
    # Not unique: a restored task's files are named by a row for each time that they were visible.
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
    Index("segments_of_stream", "stream", "added_version"),
    Index("segments_of_task", "task", "attempt"),
    Index("segments_by_path", "path"),
    # What compaction and purge look for: few rows of many.
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
)

# What uploads under an idempotency key were answered: apart from the segments, which compaction merges.
receipts = Table(
    "receipts",
    metadata,
    # A key means one upload of an attempt, in every process.
    Column("task", FID, ForeignKey("tasks.fid", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("body_digest", String(64), nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("rejected", BigInteger),
    # JSON in UTF-8, so that an id can be looked for in it.
    Column("flaws", Text),
    Column("truncated", Boolean, nullable=False, server_default=false()),
)

# Lines of lenient uploads that were kept aside.
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
    # Last, as it may be long: SQLite reads a row from its beginning.
    Column("raw", LargeBinary, nullable=False),
)

# Which places documents have got in their attempt that were replayed, and which of the rejected lines they were: a
# line that came later lies above them, though its place is lower.
replayed = Table(
    "replayed",
    metadata,
    Column("task", FID, ForeignKey("tasks.fid", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("place", BigInteger, primary_key=True),
    Column("seq", Integer, nullable=False),
)

# The rows of small segments, which are no files until they are merged.
inlined = Table(
    "inlined",
    metadata,
    Column("path", Text, primary_key=True),
    Column("packed", LargeBinary, nullable=False),
)

# Files that nothing names any more, and that are left lying for those who are still reading them.
garbage = Table(
    "garbage",
    metadata,
    Column("path", Text, primary_key=True),
    Column("due_at", UtcDateTime, nullable=False, index=True),
)

# Which ids were erased, so that those who follow a stream hear of it; forgotten with the versions before it.
erasures = Table(
    "erasures",
    metadata,
    Column("stream", FID, ForeignKey("streams.fid", ondelete="CASCADE"), primary_key=True),
    # Each erasure is a version of its own. The id is not part of the key: indexes are for short values.
    Column("version", BigInteger, primary_key=True),
    # Binary: an id may hold U+0000, which PostgreSQL's text may not.
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
    # No foreign key: the log tells of tasks that are gone, too.
    Column("task", FID),
    Column("attempt", Integer),
    Column("tasks", JSON(none_as_null=True)),
    Column("docs", BigInteger, nullable=False),
    # How much of an attempt had come by a version.
    Index("stream_log_of_attempt", "task", "attempt", "version"),
)
