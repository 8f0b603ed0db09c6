"""Compaction, purge, erasure, attempts and summaries."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "garbage",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_garbage")),
    )
    op.create_index(op.f("ix_garbage_due_at"), "garbage", ["due_at"])
    op.create_table(
        "erasures",
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("doc_id", sa.LargeBinary(), nullable=False),
        sa.Column("shown", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["stream"], ["streams.fid"], name=op.f("fk_erasures_stream"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("stream", "version", name=op.f("pk_erasures")),
    )
    op.create_table(
        "attempts",
        sa.Column("task", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("external_version", sa.Integer(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("detail", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("docs", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("uploads", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("heard_at", UtcDateTime, nullable=True),
        sa.Column("ended_at", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(["task"], ["tasks.fid"], name=op.f("fk_attempts_task"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task", "attempt", name=op.f("pk_attempts")),
    )
    op.create_table(
        "receipts",
        sa.Column("task", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("body_digest", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["tasks.fid"], name=op.f("fk_receipts_task"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task", "attempt", "idempotency_key", name=op.f("pk_receipts")),
    )
    op.execute(
        "INSERT INTO receipts SELECT task, attempt, idempotency_key, body_digest, docs, total, bytes FROM segments"
        " WHERE idempotency_key IS NOT NULL AND body_digest IS NOT NULL"
    )
    with op.batch_alter_table("streams") as table:
        table.add_column(sa.Column("purged_version", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("summary", sa.JSON(none_as_null=True), nullable=True))
    unsummed = sa.text("summary IS NULL AND ended_at IS NOT NULL")
    op.create_index("tasks_to_sum_up", "tasks", ["fid"], sqlite_where=unsummed, postgresql_where=unsummed)
    with op.batch_alter_table("segments") as table:
        table.drop_constraint("uq_segments_task_attempt_idempotency_key", type_="unique")
        table.add_column(sa.Column("base", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("is_compact", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("whole_version", sa.BigInteger(), nullable=True))
    op.execute("UPDATE segments SET base = total - docs")
    with op.batch_alter_table("segments") as table:
        table.alter_column("base", server_default=None)
        table.alter_column("is_compact", server_default=None)
        for gone in ("total", "idempotency_key", "body_digest"):
            table.drop_column(gone)
    op.create_index("segments_of_task", "segments", ["task", "attempt"])
    unsorted, removed = sa.text("NOT is_compact AND removed_version IS NULL"), sa.text("removed_version IS NOT NULL")
    op.create_index(
        "segments_to_compact", "segments", ["task", "attempt"], sqlite_where=unsorted, postgresql_where=unsorted
    )
    op.create_index(
        "segments_removed", "segments", ["stream", "removed_version"], sqlite_where=removed, postgresql_where=removed
    )
    with op.batch_alter_table("stream_log") as table:
        table.alter_column("task", existing_type=sa.String(length=32), nullable=True)
        table.alter_column("attempt", existing_type=sa.Integer(), nullable=True)
        table.add_column(sa.Column("tasks", sa.JSON(none_as_null=True), nullable=True))
    op.create_index("stream_log_of_attempt", "stream_log", ["task", "attempt", "version"])
