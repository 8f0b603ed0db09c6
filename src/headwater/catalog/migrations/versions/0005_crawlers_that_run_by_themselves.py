"""Gates, automatic retries and schedules of crawlers."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    op.add_column("crawlers", sa.Column("gates", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("crawlers", sa.Column("retries", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("crawlers", sa.Column("planned_at", UtcDateTime, nullable=True))
    op.add_column("crawlers", sa.Column("next_run_at", UtcDateTime, nullable=True))
    op.add_column("crawlers", sa.Column("skipped_at", UtcDateTime, nullable=True))
    op.add_column("crawlers", sa.Column("skipped_because", sa.Text(), nullable=True))
    is_planned = sa.text("next_run_at IS NOT NULL")
    op.create_index(
        "crawlers_by_next_run", "crawlers", ["next_run_at"], sqlite_where=is_planned, postgresql_where=is_planned
    )
    op.add_column("tasks", sa.Column("retried", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("retry_at", UtcDateTime, nullable=True))
    is_waiting = sa.text("retry_at IS NOT NULL")
    op.create_index("tasks_to_retry", "tasks", ["retry_at"], sqlite_where=is_waiting, postgresql_where=is_waiting)
