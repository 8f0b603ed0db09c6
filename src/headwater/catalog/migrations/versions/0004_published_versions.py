"""Versions of Externals: the published one, and creation times."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    op.add_column("externals", sa.Column("published", sa.Integer(), nullable=True))
    op.add_column("external_versions", sa.Column("created_at", UtcDateTime, nullable=True))
    # The creation time of the first version is known; later ones are no younger than the last edit.
    op.execute(
        "UPDATE external_versions SET created_at = (SELECT CASE WHEN external_versions.version = 1 "
        "THEN externals.created_at ELSE externals.updated_at END "
        "FROM externals WHERE externals.fid = external_versions.external)"
    )
    with op.batch_alter_table("external_versions") as table:
        table.alter_column("created_at", existing_type=UtcDateTime, nullable=False)
