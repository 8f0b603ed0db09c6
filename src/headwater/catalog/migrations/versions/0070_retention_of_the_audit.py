"""The audit may be purged, up to a day that only moves forward; former attempts are found by their end."""

import sqlalchemy as sa
from alembic import op

revision = "0070"
down_revision = "0060"

_ONLY_ADDED = "the audit is only ever added to"
_FORWARD = "the audit is kept from a day on that only moves forward, and never within the last day"


def upgrade() -> None:
    """Apply."""
    kept = op.create_table(
        "audit_kept",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_kept")),
    )
    op.bulk_insert(kept, [{"id": 1, "since": ""}])
    op.create_index("attempts_by_end", "attempts", ["ended_at"])
    if op.get_bind().dialect.name == "postgresql":
        _guard_postgresql()
    else:
        _guard_sqlite()


def _guard_postgresql() -> None:
    op.execute("DROP TRIGGER audit_is_only_added_to ON audit")
    op.execute(
        "CREATE TRIGGER audit_is_only_added_to BEFORE UPDATE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_only_added_to()"
    )
    op.execute(
        "CREATE FUNCTION audit_entry_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        'IF OLD.fid COLLATE "C" >= coalesce((SELECT max(since COLLATE "C") FROM audit_kept), \'\') COLLATE "C" '
        f"THEN RAISE EXCEPTION '{_ONLY_ADDED}'; END IF; RETURN OLD; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_entry_is_kept BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_entry_is_kept()"
    )
    a_day_ago = "lpad(to_hex(((extract(epoch FROM now()) - 86400) * 1000)::bigint), 12, '0')"
    op.execute(
        "CREATE FUNCTION audit_is_kept_since() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        'IF TG_OP <> \'UPDATE\' OR NEW.since COLLATE "C" < OLD.since COLLATE "C" '
        f'OR NEW.since COLLATE "C" > {a_day_ago} COLLATE "C" '
        f"THEN RAISE EXCEPTION '{_FORWARD}'; END IF; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_is_kept_since BEFORE INSERT OR UPDATE OR DELETE ON audit_kept "
        "FOR EACH ROW EXECUTE FUNCTION audit_is_kept_since()"
    )
    op.execute(
        "CREATE TRIGGER audit_is_kept_since_still BEFORE TRUNCATE ON audit_kept "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_only_added_to()"
    )


def _guard_sqlite() -> None:
    op.execute("DROP TRIGGER audit_takes_no_delete")
    op.execute(
        "CREATE TRIGGER audit_takes_no_delete BEFORE DELETE ON audit "
        "WHEN OLD.fid >= coalesce((SELECT max(since) FROM audit_kept), '') "
        f"BEGIN SELECT RAISE(ABORT, '{_ONLY_ADDED}'); END"
    )
    for change in ("INSERT", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_kept_takes_no_{change.lower()} BEFORE {change} ON audit_kept "
            f"BEGIN SELECT RAISE(ABORT, '{_FORWARD}'); END"
        )
    # The first twelve digits of a fid are milliseconds since 1970.
    op.execute(
        "CREATE TRIGGER audit_kept_moves_forward BEFORE UPDATE ON audit_kept "
        "WHEN NEW.since < OLD.since OR NEW.since > printf('%012x', (strftime('%s', 'now') - 86400) * 1000) "
        f"BEGIN SELECT RAISE(ABORT, '{_FORWARD}'); END"
    )
