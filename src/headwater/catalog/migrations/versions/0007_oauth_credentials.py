"""Logins at the ECs of Externals."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "credentials",
        sa.Column("fid", sa.String(length=32), nullable=False),
        sa.Column("external", sa.String(length=32), nullable=False),
        sa.Column("login_digest", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("reported_name", sa.Text(), nullable=True),
        sa.Column("email_address", sa.Text(), nullable=True),
        sa.Column("issued_at", UtcDateTime, nullable=True),
        sa.Column("expires_at", UtcDateTime, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("renewed_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["external"], ["externals.fid"], name=op.f("fk_credentials_external")),
        sa.PrimaryKeyConstraint("fid", name=op.f("pk_credentials")),
    )
    op.create_index("credentials_of_login", "credentials", ["external", "login_digest"], unique=True)
    with op.batch_alter_table("crawlers") as table:
        table.add_column(sa.Column("login", sa.String(length=32), nullable=True))
        table.create_foreign_key(op.f("fk_crawlers_login"), "credentials", ["login"], ["fid"])
        table.create_index(op.f("ix_crawlers_login"), ["login"])
