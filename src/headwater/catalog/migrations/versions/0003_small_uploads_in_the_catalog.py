"""Small uploads in the catalog."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "inlined",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_inlined")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Kept for minutes only: compressing it would take longer than the upload.
        op.execute("ALTER TABLE inlined ALTER COLUMN packed SET STORAGE EXTERNAL")
