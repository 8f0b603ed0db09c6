"""What is to be told to others, or was."""

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint, text

from headwater.catalog.dialects import UtcDateTime
from headwater.catalog.tables.base import FID, metadata

notices = Table(
    "notices",
    metadata,
    Column("fid", FID, primary_key=True),
    # No foreign key: an EC is told to stop even when its task is gone with its crawler.
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

# Never given out twice, not even when the newest row is purged: followers go on behind an id.
events = Table(
    "events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("type", String(32), nullable=False),
    # No foreign keys: events tell of what is gone, too.
    Column("stream", FID),
    Column("crawler", FID),
    Column("external", FID),
    Column("task", FID),
    Column("data", JSON, nullable=False),
    sqlite_autoincrement=True,
)

# One row: the last event of which the deliveries are written.
webhook_place = Table(
    "webhook_place",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("event", BigInteger, nullable=False),
)

#: True of deliveries that are to be sent; partial indexes are used for questions that say the same to the letter.
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
    # An event is sent to a webhook once: this says so, not a check in code. Tests have no event.
    UniqueConstraint("webhook", "event"),
    Index("deliveries_of_webhook", "webhook", "fid"),
    Index("deliveries_by_end", "settled_at"),
    # Few of many: what is due, and what comes before it.
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
