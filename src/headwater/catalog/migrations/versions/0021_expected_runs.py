"""Expected runs of crawlers."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Apply."""
    op.add_column("crawlers", sa.Column("expect", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("crawlers", sa.Column("expected_by", UtcDateTime, nullable=True))
    op.add_column("crawlers", sa.Column("missed_since", UtcDateTime, nullable=True))
    op.create_index(
        "crawlers_by_expectation",
        "crawlers",
        ["expected_by"],
        sqlite_where=sa.text("expected_by IS NOT NULL"),
        postgresql_where=sa.text("expected_by IS NOT NULL"),
    )
