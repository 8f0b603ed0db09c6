"""The append-only audit; an index on the state of tasks, for counts."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0009"
down_revision = "0008"

_ONLY_ADDED = "the audit is only ever added to"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "audit",
        sa.Column("fid", sa.String(length=32), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("key", sa.String(length=32), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("object_type", sa.String(length=32), nullable=True),
        sa.Column("object_fid", sa.String(length=32), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("fid", name=op.f("pk_audit")),
    )
    op.create_index("audit_by_key", "audit", ["key", "fid"])
    op.create_index("audit_by_action", "audit", ["action", "fid"])
    op.create_index("audit_by_object", "audit", ["object_fid", "fid"])
    op.create_index("tasks_by_state", "tasks", ["state"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION audit_is_only_added_to() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_ONLY_ADDED}'; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_is_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_only_added_to()"
        )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_takes_no_{change.lower()} BEFORE {change} ON audit "
            f"BEGIN SELECT RAISE(ABORT, '{_ONLY_ADDED}'); END"
        )
