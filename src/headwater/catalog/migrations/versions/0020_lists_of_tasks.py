"""Indexes for lists of tasks by start and end."""

from alembic import op

revision = "0020"
down_revision = "0015"


def upgrade() -> None:
    """Apply."""
    op.create_index("tasks_by_begin", "tasks", ["started_at"])
    op.create_index("tasks_by_end", "tasks", ["ended_at"])
