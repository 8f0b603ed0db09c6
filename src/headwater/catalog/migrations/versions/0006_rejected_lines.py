"""Rejected lines of lenient uploads, and the stored answers to such uploads."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "rejects",
        sa.Column("task", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("upload", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("flaws", sa.JSON(), nullable=False),
        sa.Column("doc_id", sa.LargeBinary(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("arrived", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["tasks.fid"], name=op.f("fk_rejects_task"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task", "attempt", "seq", name=op.f("pk_rejects")),
    )
    op.create_table(
        "replayed",
        sa.Column("task", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["tasks.fid"], name=op.f("fk_replayed_task"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task", "attempt", "place", name=op.f("pk_replayed")),
    )
    op.add_column("receipts", sa.Column("rejected", sa.BigInteger(), nullable=True))
    op.add_column("receipts", sa.Column("flaws", sa.Text(), nullable=True))
    op.add_column("receipts", sa.Column("truncated", sa.Boolean(), nullable=False, server_default=sa.false()))
