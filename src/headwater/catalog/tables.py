"""The tables of the catalog. What a column means is said at the field of the domain value that it holds."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

from headwater.catalog.database import UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_FID = String(32)


def common() -> list[Column[object]]:
    """The columns that every relational object has."""
    return [
        Column("fid", _FID, primary_key=True),
        Column("version", Integer, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        Column("updated_at", UtcDateTime, nullable=False),
        Column("meta", JSON, nullable=False),
    ]


streams = Table(
    "streams",
    metadata,
    *common(),
    Column("stream_version", BigInteger, nullable=False),
    Column("top_layer", BigInteger, nullable=False),
    Column("docs", BigInteger, nullable=False),
    Column("docs_version", BigInteger, nullable=False),
    Column("purged_version", BigInteger, nullable=False, server_default="0"),
    # Streams whose documents are to be counted again.
    Index(
        "streams_to_count",
        "fid",
        sqlite_where=text("docs_version < stream_version"),
        postgresql_where=text("docs_version < stream_version"),
    ),
)

externals = Table("externals", metadata, *common(), Column("published", Integer))

# Old versions are kept: a task is checked by the definition that it was started with.
external_versions = Table(
    "external_versions",
    metadata,
    Column("external", _FID, ForeignKey("externals.fid", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("definition", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

# Logins at the ECs of Externals. Their tokens are sealed.
credentials = Table(
    "credentials",
    metadata,
    Column("fid", _FID, primary_key=True),
    Column("external", _FID, ForeignKey("externals.fid"), nullable=False),
    # SHA-256 of the login's uuid, which is as good as the token.
    Column("login_digest", String(64), nullable=False),
    Column("sealed", Text, nullable=False),
    Column("user", Text),
    Column("reported_name", Text),
    Column("email_address", Text),
    Column("issued_at", UtcDateTime),
    Column("expires_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("renewed_at", UtcDateTime, nullable=False),
    # Unique: a login that is fetched twice at once is one credential.
    Index("credentials_of_login", "external", "login_digest", unique=True),
)

crawlers = Table(
    "crawlers",
    metadata,
    *common(),
    Column("external", _FID, ForeignKey("externals.fid"), nullable=False, index=True),
    # Unique: this index, not a check in code, is the rule of one crawler for a stream.
    Column("stream", _FID, ForeignKey("streams.fid"), nullable=False, unique=True),
    Column("params", JSON, nullable=False),
    Column("sealed_credential", Text),
    Column("credential_type", String(16)),
    Column("login", _FID, ForeignKey("credentials.fid"), index=True),
    Column("schedule", JSON(none_as_null=True)),
    Column("timeout", Integer, nullable=False),
    Column("publish", String(16), nullable=False),
    Column("gates", JSON(none_as_null=True)),
    Column("retries", Integer, nullable=False, server_default="0"),
    Column("planned_at", UtcDateTime),
    Column("next_run_at", UtcDateTime),
    Column("skipped_at", UtcDateTime),
    Column("skipped_because", Text),
    # The sweep for runs that are due reads this and never crawlers without a schedule.
    Index(
        "crawlers_by_next_run",
        "next_run_at",
        sqlite_where=text("next_run_at IS NOT NULL"),
        postgresql_where=text("next_run_at IS NOT NULL"),
    ),
)

#: True of open tasks, and of segments that compaction has not settled. Partial indexes are used only for questions
#: that say the same to the letter, with nothing bound.
OPEN = "state IN ('new', 'running')"
UNSETTLED = "NOT is_compact"

tasks = Table(
    "tasks",
    metadata,
    *common(),
    Column("crawler", _FID, ForeignKey("crawlers.fid"), nullable=False, index=True),
    Column("stream", _FID, ForeignKey("streams.fid"), nullable=False),
    Column("external", _FID, nullable=False),
    Column("external_version", Integer, nullable=False),
    Column("params", JSON, nullable=False),
    Column("timeout", Integer, nullable=False),
    Column("publish", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("code", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(32)),
    Column("message", Text),
    Column("detail", JSON(none_as_null=True)),
    Column("docs", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("uploads", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("callback", Text),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heard_at", UtcDateTime),
    Column("deadline", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("removed_at", UtcDateTime),
    Column("removed_version", BigInteger),
    Column("summary", JSON(none_as_null=True)),
    Column("retried", Integer, nullable=False, server_default="0"),
    Column("retry_at", UtcDateTime),
    ForeignKeyConstraint(["external", "external_version"], ["external_versions.external", "external_versions.version"]),
    # Unique: this index, not a check in code, is the rule of one open task for a crawler.
    Index("one_open_task", "crawler", unique=True, sqlite_where=text(OPEN), postgresql_where=text(OPEN)),
    # The sweep for silent tasks reads this and never the ended ones.
    Index(
        "tasks_by_deadline",
        "deadline",
        sqlite_where=text("deadline IS NOT NULL"),
        postgresql_where=text("deadline IS NOT NULL"),
    ),
    # The sweep for automatic retries reads this.
    Index(
        "tasks_to_retry",
        "retry_at",
        sqlite_where=text("retry_at IS NOT NULL"),
        postgresql_where=text("retry_at IS NOT NULL"),
    ),
    # What is yet to be summed up.
    Index(
        "tasks_to_sum_up",
        "fid",
        sqlite_where=text("summary IS NULL AND ended_at IS NOT NULL"),
        postgresql_where=text("summary IS NULL AND ended_at IS NOT NULL"),
    ),
    # How many there are in each state, without a look at the tasks themselves.
    Index("tasks_by_state", "state"),
    # A stream's status is its latest task.
    Index("tasks_by_start", "stream", "started_at"),
)

# What former attempts were. The present one is the task itself, and is not stored twice.
attempts = Table(
    "attempts",
    metadata,
    Column("task", _FID, ForeignKey("tasks.fid", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("external_version", Integer, nullable=False),
    Column("params", JSON, nullable=False),
    Column("code", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(32)),
    Column("message", Text),
    Column("detail", JSON(none_as_null=True)),
    Column("docs", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("uploads", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heard_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
)

segments = Table(
    "segments",
    metadata,
    Column("fid", _FID, primary_key=True),
    Column("stream", _FID, ForeignKey("streams.fid"), nullable=False),
    Column("task", _FID, ForeignKey("tasks.fid"), nullable=False),
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
    Column("task", _FID, ForeignKey("tasks.fid", ondelete="CASCADE"), primary_key=True),
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
    Column("task", _FID, ForeignKey("tasks.fid", ondelete="CASCADE"), primary_key=True),
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
    Column("task", _FID, ForeignKey("tasks.fid", ondelete="CASCADE"), primary_key=True),
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
    Column("stream", _FID, ForeignKey("streams.fid", ondelete="CASCADE"), primary_key=True),
    # Each erasure is a version of its own. The id is not part of the key: indexes are for short values.
    Column("version", BigInteger, primary_key=True),
    # Binary: an id may hold U+0000, which PostgreSQL's text may not.
    Column("doc_id", LargeBinary, nullable=False),
    Column("shown", JSON, nullable=False),
)

stream_log = Table(
    "stream_log",
    metadata,
    Column("stream", _FID, ForeignKey("streams.fid", ondelete="CASCADE"), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("change", String(16), nullable=False),
    # No foreign key: the log tells of tasks that are gone, too.
    Column("task", _FID),
    Column("attempt", Integer),
    Column("tasks", JSON(none_as_null=True)),
    Column("docs", BigInteger, nullable=False),
    # How much of an attempt had come by a version.
    Index("stream_log_of_attempt", "task", "attempt", "version"),
)

# What a caller linked by hand. The links between crawlers, tasks and what they use are not stored
# twice: they are read off those objects.
links = Table(
    "links",
    metadata,
    Column("from_type", String(16), primary_key=True),
    Column("from_fid", _FID, primary_key=True),
    Column("to_type", String(16), primary_key=True),
    Column("to_fid", _FID, primary_key=True),
    Index("links_to", "to_fid"),
    Index("links_from", "from_fid"),
)

notices = Table(
    "notices",
    metadata,
    Column("fid", _FID, primary_key=True),
    # No foreign key: an EC is told to stop even when its task is gone with its crawler.
    Column("task", _FID, nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("sealed_target", Text, nullable=False),
    Column("code", Integer, nullable=False),
    Column("message", Text),
    Column("tries", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False, index=True),
    Column("leased_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
)

# Never given out twice, not even when the newest row is purged: followers go on behind an id.
events = Table(
    "events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("type", String(32), nullable=False),
    # No foreign keys: events tell of what is gone, too.
    Column("stream", _FID),
    Column("crawler", _FID),
    Column("external", _FID),
    Column("task", _FID),
    Column("data", JSON, nullable=False),
    sqlite_autoincrement=True,
)

keys = Table(
    "keys",
    metadata,
    Column("fid", _FID, primary_key=True),
    Column("name", Text, nullable=False),
    # SHA-256 of the key: a key has 256 random bits, so that a slow hash would protect nothing more.
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)

# Who did what: rows are only ever added. A trigger, not a check in code, keeps it so.
audit = Table(
    "audit",
    metadata,
    Column("fid", _FID, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    # No foreign key: the audit tells of what is gone, too.
    Column("key", _FID),
    Column("name", Text, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("action", String(64), nullable=False),
    Column("object_type", String(16)),
    Column("object_fid", _FID),
    Column("request_id", String(64)),
    Column("detail", JSON, nullable=False),
    Index("audit_by_key", "key", "fid"),
    Index("audit_by_action", "action", "fid"),
    Index("audit_by_object", "object_fid", "fid"),
)
