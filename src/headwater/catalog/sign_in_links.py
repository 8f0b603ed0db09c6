"""One-time links that sign a browser in to the console with a key: stored hashed, deleted when used."""

import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, insert

from headwater.catalog import keys, tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.keys import Key
from headwater.catalog.vault import digest_of

_links = tables.sign_in_links.c
#: How long a link is valid.
VALID_FOR = timedelta(minutes=15)


def add(tx: Transaction, key: Key, *, at: datetime, valid_for: timedelta = VALID_FOR) -> str:
    """Create a link for a key, and return its token, which is not stored."""
    token = secrets.token_urlsafe(32)
    tx.execute(delete(tables.sign_in_links).where(_links.expires_at <= at))
    values = {"digest": digest_of(token), "key": key.fid, "expires_at": at + valid_for}
    tx.execute(insert(tables.sign_in_links).values(values))
    tx.annotate(about=("keys", key.fid), name=key.name)
    return token


def use(tx: Transaction, token: str, *, at: datetime) -> Key | None:
    """Delete a link and return its key; None if it was used before, has expired, or its key is revoked."""
    found = delete(tables.sign_in_links).where(_links.digest == digest_of(token), _links.expires_at > at)
    fid = tx.execute(found.returning(_links.key)).scalar_one_or_none()
    return None if fid is None else keys.valid(tx, fid, at)
