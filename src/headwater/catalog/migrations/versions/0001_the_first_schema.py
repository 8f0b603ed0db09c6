"""The first schema."""

import sqlalchemy as sa
from alembic import op

from headwater.catalog.core.dialects import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "externals",
        sa.Column("fid", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("meta", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("fid", name=op.f("pk_externals")),
    )
    op.create_table(
        "keys",
        sa.Column("fid", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("revoked_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("fid", name=op.f("pk_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_keys_digest")),
    )
    op.create_table(
        "links",
        sa.Column("from_type", sa.String(length=16), nullable=False),
        sa.Column("from_fid", sa.String(length=32), nullable=False),
        sa.Column("to_type", sa.String(length=16), nullable=False),
        sa.Column("to_fid", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("from_type", "from_fid", "to_type", "to_fid", name=op.f("pk_links")),
    )
    op.create_index("links_from", "links", ["from_fid"], unique=False)
    op.create_index("links_to", "links", ["to_fid"], unique=False)
    op.create_table(
        "notices",
        sa.Column("fid", sa.String(length=32), nullable=False),
        sa.Column("task", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sealed_target", sa.Text(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("leased_until", UtcDateTime, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("fid", name=op.f("pk_notices")),
    )
    op.create_index(op.f("ix_notices_due_at"), "notices", ["due_at"], unique=False)
    op.create_index(op.f("ix_notices_task"), "notices", ["task"], unique=False)
    op.create_table(
        "streams",
        sa.Column("fid", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("meta", sa.JSON(), nullable=False),
        sa.Column("stream_version", sa.BigInteger(), nullable=False),
        sa.Column("top_layer", sa.BigInteger(), nullable=False),
        sa.Column("docs", sa.BigInteger(), nullable=False),
        sa.Column("docs_version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("fid", name=op.f("pk_streams")),
    )
    op.create_index(
        "streams_to_count",
        "streams",
        ["fid"],
        unique=False,
        sqlite_where=sa.text("docs_version < stream_version"),
        postgresql_where=sa.text("docs_version < stream_version"),
    )
    op.create_table(
        "crawlers",
        sa.Column("fid", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("meta", sa.JSON(), nullable=False),
        sa.Column("external", sa.String(length=32), nullable=False),
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("sealed_credential", sa.Text(), nullable=True),
        sa.Column("credential_type", sa.String(length=16), nullable=True),
        sa.Column("schedule", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("timeout", sa.Integer(), nullable=False),
        sa.Column("publish", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["external"], ["externals.fid"], name=op.f("fk_crawlers_external")),
        sa.ForeignKeyConstraint(["stream"], ["streams.fid"], name=op.f("fk_crawlers_stream")),
        sa.PrimaryKeyConstraint("fid", name=op.f("pk_crawlers")),
        sa.UniqueConstraint("stream", name=op.f("uq_crawlers_stream")),
    )
    op.create_index(op.f("ix_crawlers_external"), "crawlers", ["external"], unique=False)
    op.create_table(
        "external_versions",
        sa.Column("external", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["external"], ["externals.fid"], name=op.f("fk_external_versions_external"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("external", "version", name=op.f("pk_external_versions")),
    )
    op.create_table(
        "stream_log",
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("change", sa.String(length=16), nullable=False),
        sa.Column("task", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("docs", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["stream"], ["streams.fid"], name=op.f("fk_stream_log_stream"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("stream", "version", name=op.f("pk_stream_log")),
    )
    op.create_table(
        "tasks",
        sa.Column("fid", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("meta", sa.JSON(), nullable=False),
        sa.Column("crawler", sa.String(length=32), nullable=False),
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("external", sa.String(length=32), nullable=False),
        sa.Column("external_version", sa.Integer(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("timeout", sa.Integer(), nullable=False),
        sa.Column("publish", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("detail", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("docs", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("uploads", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("callback", sa.Text(), nullable=True),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("heard_at", UtcDateTime, nullable=True),
        sa.Column("deadline", UtcDateTime, nullable=True),
        sa.Column("ended_at", UtcDateTime, nullable=True),
        sa.Column("removed_at", UtcDateTime, nullable=True),
        sa.Column("removed_version", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["crawler"], ["crawlers.fid"], name=op.f("fk_tasks_crawler")),
        sa.ForeignKeyConstraint(
            ["external", "external_version"],
            ["external_versions.external", "external_versions.version"],
            name=op.f("fk_tasks_external_external_version"),
        ),
        sa.ForeignKeyConstraint(["stream"], ["streams.fid"], name=op.f("fk_tasks_stream")),
        sa.PrimaryKeyConstraint("fid", name=op.f("pk_tasks")),
    )
    op.create_index(op.f("ix_tasks_crawler"), "tasks", ["crawler"], unique=False)
    op.create_index(
        "one_open_task",
        "tasks",
        ["crawler"],
        unique=True,
        sqlite_where=sa.text("state IN ('new', 'running')"),
        postgresql_where=sa.text("state IN ('new', 'running')"),
    )
    op.create_index(
        "tasks_by_deadline",
        "tasks",
        ["deadline"],
        unique=False,
        sqlite_where=sa.text("deadline IS NOT NULL"),
        postgresql_where=sa.text("deadline IS NOT NULL"),
    )
    op.create_index("tasks_by_start", "tasks", ["stream", "started_at"], unique=False)
    op.create_table(
        "segments",
        sa.Column("fid", sa.String(length=32), nullable=False),
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("task", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("layer", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("docs", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("min_id", sa.LargeBinary(), nullable=False),
        sa.Column("max_id", sa.LargeBinary(), nullable=False),
        sa.Column("added_version", sa.BigInteger(), nullable=True),
        sa.Column("removed_version", sa.BigInteger(), nullable=True),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("body_digest", sa.String(length=64), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["stream"], ["streams.fid"], name=op.f("fk_segments_stream")),
        sa.ForeignKeyConstraint(["task"], ["tasks.fid"], name=op.f("fk_segments_task")),
        sa.PrimaryKeyConstraint("fid", name=op.f("pk_segments")),
        sa.UniqueConstraint(
            "task", "attempt", "idempotency_key", name=op.f("uq_segments_task_attempt_idempotency_key")
        ),
    )
    op.create_index("segments_by_path", "segments", ["path"], unique=False)
    op.create_index("segments_of_stream", "segments", ["stream", "added_version"], unique=False)
