"""The background scrub: one row, which one process at a time works on."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0081"
down_revision = "0080"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "scrub",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("leased_until", UtcDateTime, nullable=True),
        sa.Column("began_at", UtcDateTime, nullable=False),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("planned", sa.BigInteger(), nullable=False),
        sa.Column("checked", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("findings", sa.BigInteger(), nullable=False),
        sa.Column("last_pass_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scrub")),
    )
