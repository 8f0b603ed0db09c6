"""Relational objects, their versions and attempts, and links between them."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from headwater.catalog.core.dialects import UtcDateTime
from headwater.catalog.tables.base import FID, common, metadata

streams = Table(
    "streams",
    metadata,
    *common(),
    Column("stream_version", BigInteger, nullable=False),
    Column("top_layer", BigInteger, nullable=False),
    Column("docs", BigInteger, nullable=False),
    Column("docs_version", BigInteger, nullable=False),
    Column("purged_version", BigInteger, nullable=False, server_default="0"),
    # Grows with each change of segments that makes no stream version; after ``layout_reset``, rows have vanished.
    Column("layout", BigInteger, nullable=False, server_default="0"),
    Column("layout_reset", BigInteger, nullable=False, server_default="0"),
    Column("undo_days", Integer),
    # Runs that ended before are settled if the oldest readable version shows them.
    Column("settled_at", UtcDateTime),
    # Streams whose documents must be counted again.
    Index(
        "streams_to_count",
        "fid",
        sqlite_where=text("docs_version < stream_version"),
        postgresql_where=text("docs_version < stream_version"),
    ),
)

externals = Table("externals", metadata, *common(), Column("published", Integer))

# Old versions are kept: a task is validated by the definition that it was started with.
external_versions = Table(
    "external_versions",
    metadata,
    Column("external", FID, ForeignKey("externals.fid", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("definition", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

crawlers = Table(
    "crawlers",
    metadata,
    *common(),
    Column("external", FID, ForeignKey("externals.fid"), nullable=False, index=True),
    # Unique: this index, not a check in code, enforces one crawler for each stream.
    Column("stream", FID, ForeignKey("streams.fid"), nullable=False, unique=True),
    Column("params", JSON, nullable=False),
    Column("sealed_credential", Text),
    Column("credential_type", String(16)),
    Column("login", FID, ForeignKey("credentials.fid"), index=True),
    Column("schedule", JSON(none_as_null=True)),
    Column("timeout", Integer, nullable=False),
    Column("publish", String(16), nullable=False),
    Column("mode", String(16), nullable=False, server_default="merge"),
    Column("scope", JSON(none_as_null=True)),
    Column("gates", JSON(none_as_null=True)),
    Column("retries", Integer, nullable=False, server_default="0"),
    Column("planned_at", UtcDateTime),
    Column("next_run_at", UtcDateTime),
    Column("skipped_at", UtcDateTime),
    Column("skipped_because", Text),
    Column("expect", JSON(none_as_null=True)),
    Column("expected_by", UtcDateTime),
    Column("missed_since", UtcDateTime),
    # For the sweep for missed runs; it has no crawlers of which none is expected.
    Index(
        "crawlers_by_expectation",
        "expected_by",
        sqlite_where=text("expected_by IS NOT NULL"),
        postgresql_where=text("expected_by IS NOT NULL"),
    ),
    # For the sweep for due runs; it has no crawlers without a schedule.
    Index(
        "crawlers_by_next_run",
        "next_run_at",
        sqlite_where=text("next_run_at IS NOT NULL"),
        postgresql_where=text("next_run_at IS NOT NULL"),
    ),
)

#: True for open tasks. A partial index is used only by queries that repeat its condition literally, without parameters.
OPEN = "state IN ('new', 'running')"
#: Likewise, tasks that a gate withholds, and those that are deleted.
WITHHELD = "reason = 'gate_failed'"
UNDONE = "removed_at IS NOT NULL"

tasks = Table(
    "tasks",
    metadata,
    *common(),
    Column("crawler", FID, ForeignKey("crawlers.fid"), nullable=False),
    Column("stream", FID, ForeignKey("streams.fid"), nullable=False),
    Column("external", FID, nullable=False),
    Column("external_version", Integer, nullable=False),
    Column("params", JSON, nullable=False),
    Column("timeout", Integer, nullable=False),
    Column("publish", String(16), nullable=False),
    Column("mode", String(16), nullable=False, server_default="merge"),
    Column("scope", JSON(none_as_null=True)),
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
    Column("deleted", BigInteger, nullable=False, server_default="0"),
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
    # Unique: this index, not a check in code, enforces one open task for each crawler.
    Index("one_open_task", "crawler", unique=True, sqlite_where=text(OPEN), postgresql_where=text(OPEN)),
    # For the sweep for silent tasks; it has no ended ones.
    Index(
        "tasks_by_deadline",
        "deadline",
        sqlite_where=text("deadline IS NOT NULL"),
        postgresql_where=text("deadline IS NOT NULL"),
    ),
    # For the sweep for automatic retries.
    Index(
        "tasks_to_retry",
        "retry_at",
        sqlite_where=text("retry_at IS NOT NULL"),
        postgresql_where=text("retry_at IS NOT NULL"),
    ),
    # Tasks whose changes are not counted yet.
    Index(
        "tasks_to_sum_up",
        "fid",
        sqlite_where=text("summary IS NULL AND ended_at IS NOT NULL"),
        postgresql_where=text("summary IS NULL AND ended_at IS NOT NULL"),
    ),
    # For counts by state, without reading the tasks themselves, and for lists, newest first, as the ones below.
    Index("tasks_by_state", "state", "fid"),
    Index("tasks_of_crawler", "crawler", "fid"),
    Index("tasks_of_stream", "stream", "fid"),
    Index("tasks_withheld", "fid", sqlite_where=text(WITHHELD), postgresql_where=text(WITHHELD)),
    Index("tasks_undone", "fid", sqlite_where=text(UNDONE), postgresql_where=text(UNDONE)),
    # A stream's status is its latest task.
    Index("tasks_by_start", "stream", "started_at"),
    # For lists of all streams' tasks.
    Index("tasks_by_begin", "started_at"),
    Index("tasks_by_end", "ended_at"),
)

# Former attempts. The current one is the task itself, and is not stored twice.
attempts = Table(
    "attempts",
    metadata,
    Column("task", FID, ForeignKey("tasks.fid", ondelete="CASCADE"), primary_key=True),
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
    Column("deleted", BigInteger, nullable=False, server_default="0"),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heard_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    # For their retention.
    Index("attempts_by_end", "ended_at"),
)

# Links made by callers. The links between crawlers, tasks and what they use are not stored
# again: they are derived from those objects.
links = Table(
    "links",
    metadata,
    Column("from_type", String(16), primary_key=True),
    Column("from_fid", FID, primary_key=True),
    Column("to_type", String(16), primary_key=True),
    Column("to_fid", FID, primary_key=True),
    Index("links_to", "to_fid"),
    Index("links_from", "from_fid"),
)

webhooks = Table(
    "webhooks",
    metadata,
    *common(),
    Column("url", Text, nullable=False),
    Column("types", JSON, nullable=False),
    # No foreign keys: the deletion of an object is an event of it, too.
    Column("stream", FID),
    Column("crawler", FID),
    Column("enabled", Boolean, nullable=False),
    Column("disabled_at", UtcDateTime),
    Column("disabled_reason", Text),
    Column("failing_since", UtcDateTime),
    Column("since", BigInteger, nullable=False),
    Column("sealed_secret", Text, nullable=False),
    Column("sealed_former", Text),
    Column("former_until", UtcDateTime),
    Column("format", String(16), nullable=False, server_default="standard"),
)

notifications = Table(
    "notifications",
    metadata,
    *common(),
    Column("sealed_url", Text, nullable=False),
    Column("shown_url", Text, nullable=False),
    Column("events", JSON, nullable=False),
    # No foreign keys: what is deleted is not told of any more.
    Column("streams", JSON, nullable=False),
    Column("crawlers", JSON, nullable=False),
    Column("conditions", JSON, nullable=False),
    Column("group_seconds", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("grouped", JSON(none_as_null=True)),
    Column("group_due_at", UtcDateTime),
    Column("outgoing", JSON(none_as_null=True)),
    Column("outgoing_due_at", UtcDateTime),
    Column("outgoing_tries", Integer, nullable=False),
    Column("leased_until", UtcDateTime),
    Column("last_sent_at", UtcDateTime),
    Column("last_error", Text),
)
