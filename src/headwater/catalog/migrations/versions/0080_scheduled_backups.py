"""Backups on a schedule: one row, which one process at a time works on."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0080"
down_revision = "0070"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "scheduled_backups",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("counted_from", UtcDateTime, nullable=False),
        sa.Column("leased_until", UtcDateTime, nullable=True),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("failed_in_a_row", sa.Integer(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=True),
        sa.Column("last_made_at", UtcDateTime, nullable=True),
        sa.Column("last_failed_at", UtcDateTime, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scheduled_backups")),
    )
