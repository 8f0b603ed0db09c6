"""The tables of webhooks. What a column means is said at the field of the domain value that it holds."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from headwater.catalog.database import UtcDateTime
from headwater.catalog.tables import common, metadata

_FID = String(32)

#: True of deliveries that are to be sent; partial indexes are used for questions that say the same to the letter.
PENDING = "state = 'pending'"

webhooks = Table(
    "webhooks",
    metadata,
    *common(),
    Column("url", Text, nullable=False),
    Column("types", JSON, nullable=False),
    # No foreign keys: the end of what it is about is told, too.
    Column("stream", _FID),
    Column("crawler", _FID),
    Column("enabled", Boolean, nullable=False),
    Column("disabled_at", UtcDateTime),
    Column("disabled_reason", Text),
    Column("failing_since", UtcDateTime),
    Column("since", BigInteger, nullable=False),
    Column("sealed_secret", Text, nullable=False),
    Column("sealed_former", Text),
    Column("former_until", UtcDateTime),
)

# One row: the last event of which the deliveries are written.
webhook_place = Table(
    "webhook_place",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("event", BigInteger, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("fid", _FID, primary_key=True),
    Column("webhook", _FID, ForeignKey("webhooks.fid", ondelete="CASCADE"), nullable=False),
    # No foreign key: events are purged earlier.
    Column("event", BigInteger),
    Column("type", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("lane", _FID, nullable=False),
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
    Column("delivery", _FID, ForeignKey("deliveries.fid", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("status", Integer),
    Column("answer", Text),
    Column("error", Text),
)
