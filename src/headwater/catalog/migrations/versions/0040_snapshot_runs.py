"""Snapshot runs: the mode of crawlers and tasks."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0030"


def upgrade() -> None:
    """Apply."""
    for table in ("crawlers", "tasks"):
        op.add_column(table, sa.Column("mode", sa.String(16), nullable=False, server_default="merge"))
