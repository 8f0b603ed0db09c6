"""Notices, events, webhooks and deliveries."""

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint, text

from headwater.catalog.core.dialects import UtcDateTime
from headwater.catalog.tables.base import FID, metadata

notices = Table(
    "notices",
    metadata,
    Column("fid", FID, primary_key=True),
    # No foreign key: an EC is told to stop even if its task was deleted with its crawler.
    Column("task", FID, nullable=False, index=True),
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

# Ids are never reused, not even when the newest row is purged: subscribers continue after an id.
events = Table(
    "events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("type", String(32), nullable=False),
    # No foreign keys: events also describe deleted objects.
    Column("stream", FID),
    Column("crawler", FID),
    Column("external", FID),
    Column("task", FID),
    Column("data", JSON, nullable=False),
    sqlite_autoincrement=True,
)

# Events of a database with concurrent writers, until they are put in order: see ``event_order``.
unordered_events = Table(
    "unordered_events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    *(Column(column.name, column.type, nullable=column.nullable) for column in events.columns if column.name != "id"),
)

# One row: the last event whose deliveries are written.
webhook_place = Table(
    "webhook_place",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("event", BigInteger, nullable=False),
)

# One row: the time used for purging.
believed_time = Table(
    "believed_time",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
)

# One row: when backups are made by the schedule, and how the last ones went.
scheduled_backups = Table(
    "scheduled_backups",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("counted_from", UtcDateTime, nullable=False),
    Column("leased_until", UtcDateTime),
    Column("made", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("failed_in_a_row", Integer, nullable=False),
    Column("last_name", Text),
    Column("last_made_at", UtcDateTime),
    Column("last_failed_at", UtcDateTime),
    Column("last_error", Text),
)

# One row: how far the background scrub has come.
scrub = Table(
    "scrub",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("leased_until", UtcDateTime),
    Column("began_at", UtcDateTime, nullable=False),
    Column("after", Text),
    Column("planned", BigInteger, nullable=False),
    Column("checked", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("findings", BigInteger, nullable=False),
    Column("last_pass_at", UtcDateTime),
)

#: True for pending deliveries; a partial index is used only by queries that repeat its condition literally.
PENDING = "state = 'pending'"

deliveries = Table(
    "deliveries",
    metadata,
    Column("fid", FID, primary_key=True),
    Column("webhook", FID, ForeignKey("webhooks.fid", ondelete="CASCADE"), nullable=False),
    # No foreign key: events are purged earlier.
    Column("event", BigInteger),
    Column("type", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("lane", FID, nullable=False),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("leased_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    # An event is sent to a webhook once: this constraint enforces it, not a check in code. Tests have no event.
    UniqueConstraint("webhook", "event"),
    Index("deliveries_of_webhook", "webhook", "fid"),
    Index("deliveries_by_end", "settled_at"),
    # Few of many: due deliveries, and those before them in their lane.
    Index("deliveries_to_send", "webhook", "due_at", sqlite_where=text(PENDING), postgresql_where=text(PENDING)),
    Index(
        "deliveries_in_order", "webhook", "lane", "event", sqlite_where=text(PENDING), postgresql_where=text(PENDING)
    ),
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("delivery", FID, ForeignKey("deliveries.fid", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("status", Integer),
    Column("answer", Text),
    Column("error", Text),
)
