"""Indexes for lists of tasks, newest first, that are filtered: a page reads its own rows and no others."""

import sqlalchemy as sa
from alembic import op

revision = "0111"
down_revision = "0110"


def upgrade() -> None:
    """Apply."""
    op.drop_index(op.f("ix_tasks_crawler"), "tasks")
    op.create_index("tasks_of_crawler", "tasks", ["crawler", "fid"])
    op.create_index("tasks_of_stream", "tasks", ["stream", "fid"])
    op.drop_index("tasks_by_state", "tasks")
    op.create_index("tasks_by_state", "tasks", ["state", "fid"])
    for name, those in (("tasks_withheld", "reason = 'gate_failed'"), ("tasks_undone", "removed_at IS NOT NULL")):
        op.create_index(name, "tasks", ["fid"], sqlite_where=sa.text(those), postgresql_where=sa.text(those))
