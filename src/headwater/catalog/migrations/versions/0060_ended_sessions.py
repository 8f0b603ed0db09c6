"""Sessions of the console that somebody has signed out of."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0060"
down_revision = "0050"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "ended_sessions",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_ended_sessions"),
    )
