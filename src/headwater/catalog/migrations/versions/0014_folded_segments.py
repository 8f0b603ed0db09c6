"""Folded segments: many segments in one file, and streams whose older runs settle."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Apply."""
    for name in ("part", "layout"):
        op.add_column("segments", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    for name in ("layout", "layout_reset"):
        op.add_column("streams", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("streams", sa.Column("undo_days", sa.Integer(), nullable=True))
    op.add_column("streams", sa.Column("settled_at", UtcDateTime, nullable=True))
    op.drop_index("segments_by_path", table_name="segments")
    op.create_index("segments_by_path", "segments", ["path", "part"])
    op.create_index(
        "segments_by_layout",
        "segments",
        ["stream", "layout"],
        sqlite_where=sa.text("layout > 0"),
        postgresql_where=sa.text("layout > 0"),
    )
