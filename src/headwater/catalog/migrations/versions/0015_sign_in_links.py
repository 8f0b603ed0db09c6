"""One-time links that sign a browser in to the console."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "sign_in_links",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["key"], ["keys.fid"], name="fk_sign_in_links_key_keys"),
        sa.PrimaryKeyConstraint("digest", name="pk_sign_in_links"),
    )
