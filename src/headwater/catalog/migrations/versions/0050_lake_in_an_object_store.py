"""The lake in an object store: where it is, files that are about to be put there, and logs on their way."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0050"
down_revision = "0041"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "intended_files",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_intended_files")),
    )
    op.create_index("ix_intended_files_at", "intended_files", ["at"])
    op.create_table(
        "lake_place",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lake_place")),
    )
    op.create_table(
        "log_chunks",
        sa.Column("task", sa.String(32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("waits", sa.Boolean(), nullable=False),
        sa.Column("lines", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["task"], ["tasks.fid"], name=op.f("fk_log_chunks_task"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task", "attempt", "start", name=op.f("pk_log_chunks")),
    )
    op.create_index(
        "log_chunks_waiting",
        "log_chunks",
        ["task", "attempt"],
        sqlite_where=sa.text("waits"),
        postgresql_where=sa.text("waits"),
    )
