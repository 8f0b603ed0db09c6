"""Who may do what, and who did."""

from sqlalchemy import JSON, Column, ForeignKey, Index, String, Table, Text

from headwater.catalog.dialects import UtcDateTime
from headwater.catalog.tables.base import FID, metadata

keys = Table(
    "keys",
    metadata,
    Column("fid", FID, primary_key=True),
    Column("name", Text, nullable=False),
    # SHA-256 of the key: a key has 256 random bits, so that a slow hash would protect nothing more.
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)

# Logins at the ECs of Externals. Their tokens are sealed.
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
    # Unique: a login that is fetched twice at once is one credential.
    Index("credentials_of_login", "external", "login_digest", unique=True),
)

# Who did what: rows are only ever added. A trigger, not a check in code, keeps it so.
audit = Table(
    "audit",
    metadata,
    Column("fid", FID, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    # No foreign key: the audit tells of what is gone, too.
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
