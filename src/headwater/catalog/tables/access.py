"""API keys, sign-in links, credentials and the audit."""

from sqlalchemy import JSON, BigInteger, Column, Double, ForeignKey, Index, Integer, String, Table, Text

from headwater.catalog.core.dialects import UtcDateTime
from headwater.catalog.tables.base import FID, metadata

keys = Table(
    "keys",
    metadata,
    Column("fid", FID, primary_key=True),
    Column("name", Text, nullable=False),
    # SHA-256 of the key: a key has 256 random bits, so that a slow hash would not add protection.
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    # The fids that it is limited to; SQL null for all. Without foreign keys: what is deleted cannot be used anyway.
    Column("streams", JSON(none_as_null=True)),
    Column("crawlers", JSON(none_as_null=True)),
    Column("expires_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    # Of the secret before the last rotation, which works until then.
    Column("former_digest", String(64)),
    Column("former_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    Column("version", Integer, nullable=False, server_default="1"),
    Index("keys_by_former_digest", "former_digest"),
)

# One-time links that sign a browser in with a key. A row is deleted when its link is used, or has expired.
sign_in_links = Table(
    "sign_in_links",
    metadata,
    # SHA-256 of the link's token.
    Column("digest", String(64), primary_key=True),
    Column("key", FID, ForeignKey("keys.fid"), nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

# Sessions of the console that were signed out of. A row is deleted when the session would have expired.
ended_sessions = Table(
    "ended_sessions",
    metadata,
    # SHA-256 of what identifies the session in its cookie.
    Column("digest", String(64), primary_key=True),
    Column("expires_at", UtcDateTime, nullable=False),
)

# One row: a value derived from the secret key that encrypts the catalog's values, to identify it.
secret_check = Table(
    "secret_check",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", String(64), nullable=False),
)

# OAuth logins at the ECs of Externals. Their tokens are encrypted.
credentials = Table(
    "credentials",
    metadata,
    Column("fid", FID, primary_key=True),
    Column("external", FID, ForeignKey("externals.fid"), nullable=False),
    # SHA-256 of the login's uuid, which is as good as the token.
    Column("login_digest", String(64), nullable=False),
    Column("sealed", Text, nullable=False),
    Column("user", Text),
    Column("reported_name", Text),
    Column("email_address", Text),
    Column("issued_at", UtcDateTime),
    Column("expires_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("renewed_at", UtcDateTime, nullable=False),
    # Unique: a login that is fetched twice concurrently is one credential.
    Index("credentials_of_login", "external", "login_digest", unique=True),
)

# The audit is append-only. Triggers enforce it, not a check in code: only entries from before ``audit_kept`` may go.
audit = Table(
    "audit",
    metadata,
    Column("fid", FID, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    # No foreign key: the audit also describes deleted objects.
    Column("key", FID),
    Column("name", Text, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("action", String(64), nullable=False),
    Column("object_type", String(32)),
    Column("object_fid", FID),
    Column("request_id", String(64)),
    Column("detail", JSON, nullable=False),
    Index("audit_by_key", "key", "fid"),
    Index("audit_by_action", "action", "fid"),
    Index("audit_by_object", "object_fid", "fid"),
)

# One row: the fid from which entries are kept. Triggers let it move forward only, and never within the last day.
audit_kept = Table(
    "audit_kept",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("since", FID, nullable=False),
)

# When the allowances of callers are whole again, by the database's clock; of servers on one PostgreSQL only.
rate_buckets = Table(
    "rate_buckets",
    metadata,
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("mark", BigInteger, primary_key=True, autoincrement=False),
    # Seconds since 1970.
    Column("full_at", Double[float](), nullable=False),
)
