"""Digests of segments and of rejected lines; damaged segments."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Apply."""
    op.add_column("segments", sa.Column("digest", sa.String(64), nullable=True))
    op.add_column("segments", sa.Column("size", sa.BigInteger(), nullable=True))
    op.add_column("segments", sa.Column("damaged_at", UtcDateTime, nullable=True))
    op.create_index(
        "segments_damaged",
        "segments",
        ["task"],
        sqlite_where=sa.text("damaged_at IS NOT NULL"),
        postgresql_where=sa.text("damaged_at IS NOT NULL"),
    )
    op.add_column("rejects", sa.Column("digest", sa.String(64), nullable=True))
