"""Webhooks and deliveries."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "webhooks",
        sa.Column("fid", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("meta", sa.JSON(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", sa.JSON(), nullable=False),
        sa.Column("stream", sa.String(32), nullable=True),
        sa.Column("crawler", sa.String(32), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_at", UtcDateTime, nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failing_since", UtcDateTime, nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("sealed_secret", sa.Text(), nullable=False),
        sa.Column("sealed_former", sa.Text(), nullable=True),
        sa.Column("former_until", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("fid", name="pk_webhooks"),
    )
    op.create_table(
        "webhook_place",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_place"),
    )
    op.execute("INSERT INTO webhook_place (id, event) VALUES (1, 0)")
    op.create_table(
        "deliveries",
        sa.Column("fid", sa.String(32), nullable=False),
        sa.Column("webhook", sa.String(32), nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=True),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("lane", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("leased_until", UtcDateTime, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("settled_at", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["webhook"], ["webhooks.fid"], name="fk_deliveries_webhook_webhooks", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("fid", name="pk_deliveries"),
        sa.UniqueConstraint("webhook", "event", name="uq_deliveries_webhook_event"),
    )
    op.create_index("deliveries_of_webhook", "deliveries", ["webhook", "fid"])
    op.create_index("deliveries_by_end", "deliveries", ["settled_at"])
    for name, columns in (
        ("deliveries_to_send", ["webhook", "due_at"]),
        ("deliveries_in_order", ["webhook", "lane", "event"]),
    ):
        op.create_index(
            name,
            "deliveries",
            columns,
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )
    op.create_table(
        "delivery_attempts",
        sa.Column("delivery", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery"], ["deliveries.fid"], name="fk_delivery_attempts_delivery_deliveries", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("delivery", "number", name="pk_delivery_attempts"),
    )
