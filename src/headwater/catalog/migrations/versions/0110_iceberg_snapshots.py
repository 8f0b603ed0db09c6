"""Snapshots of streams as Iceberg tables, of a lake in an object store."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0110"
down_revision = "0100"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "iceberg_snapshots",
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("warehouse", sa.String(length=16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("layout", sa.BigInteger(), nullable=False),
        sa.Column("about", sa.Text(), nullable=True),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("until", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("stream", "warehouse", "version", "layout", name=op.f("pk_iceberg_snapshots")),
    )
