"""Deletions of documents, and snapshots of a part of a stream."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"


def upgrade() -> None:
    """Apply."""
    op.add_column("segments", sa.Column("deletions", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("segments", sa.Column("scope", sa.JSON(none_as_null=True), nullable=True))
    for table in ("crawlers", "tasks"):
        op.add_column(table, sa.Column("scope", sa.JSON(none_as_null=True), nullable=True))
    for table in ("tasks", "attempts", "receipts"):
        op.add_column(table, sa.Column("deleted", sa.BigInteger(), nullable=False, server_default="0"))
