"""API keys that expire, rotate, and are limited to streams and crawlers."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0030"
down_revision = "0023"


def upgrade() -> None:
    """Apply."""
    op.add_column("keys", sa.Column("streams", sa.JSON(), nullable=True))
    op.add_column("keys", sa.Column("crawlers", sa.JSON(), nullable=True))
    op.add_column("keys", sa.Column("expires_at", UtcDateTime, nullable=True))
    op.add_column("keys", sa.Column("last_used_at", UtcDateTime, nullable=True))
    op.add_column("keys", sa.Column("former_digest", sa.String(64), nullable=True))
    op.add_column("keys", sa.Column("former_until", UtcDateTime, nullable=True))
    op.add_column("keys", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    op.create_index("keys_by_former_digest", "keys", ["former_digest"])
