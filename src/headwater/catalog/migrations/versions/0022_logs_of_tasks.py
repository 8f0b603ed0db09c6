"""How much the logs of tasks hold."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "task_logs",
        sa.Column("task", sa.String(32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["tasks.fid"], name="fk_task_logs_task", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task", "attempt", name="pk_task_logs"),
    )
