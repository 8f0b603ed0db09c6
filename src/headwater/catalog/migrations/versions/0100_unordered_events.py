"""Events of concurrent writers wait in a table of their own until they are put in order."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0100"
down_revision = "0081"


def upgrade() -> None:
    """Apply."""
    fid = sa.String(length=32)
    op.create_table(
        "unordered_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("stream", fid, nullable=True),
        sa.Column("crawler", fid, nullable=True),
        sa.Column("external", fid, nullable=True),
        sa.Column("task", fid, nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unordered_events")),
    )
