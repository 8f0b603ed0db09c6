"""Allowances that the servers on one PostgreSQL count together."""

import sqlalchemy as sa
from alembic import op

revision = "0140"
down_revision = "0111"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "rate_buckets",
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("mark", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("full_at", sa.Double[float](), nullable=False),
        sa.PrimaryKeyConstraint("part", "mark", name=op.f("pk_rate_buckets")),
    )
