"""Notifications, and the format of webhooks."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Apply."""
    op.add_column("webhooks", sa.Column("format", sa.String(16), server_default="standard", nullable=False))
    op.create_table(
        "notifications",
        sa.Column("fid", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("meta", sa.JSON(), nullable=False),
        sa.Column("sealed_url", sa.Text(), nullable=False),
        sa.Column("shown_url", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("streams", sa.JSON(), nullable=False),
        sa.Column("crawlers", sa.JSON(), nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.Column("group_seconds", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("grouped", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("group_due_at", UtcDateTime, nullable=True),
        sa.Column("outgoing", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("outgoing_due_at", UtcDateTime, nullable=True),
        sa.Column("outgoing_tries", sa.Integer(), nullable=False),
        sa.Column("leased_until", UtcDateTime, nullable=True),
        sa.Column("last_sent_at", UtcDateTime, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("fid", name="pk_notifications"),
    )
