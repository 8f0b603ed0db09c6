"""Sessions of the console that were signed out of: their cookies are refused, until they would have expired."""

from datetime import datetime

from sqlalchemy import delete, insert, select

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.vault import digest_of

_ended = tables.ended_sessions.c


def add(tx: Transaction, session: str, *, expires_at: datetime, at: datetime) -> None:
    """Record that a session has ended; ``session`` is what identifies it in its cookie."""
    tx.execute(delete(tables.ended_sessions).where(_ended.expires_at <= at))
    if not holds(tx, session):
        tx.execute(insert(tables.ended_sessions).values(digest=digest_of(session), expires_at=expires_at))


def holds(tx: Transaction, session: str) -> bool:
    """Return whether a session was signed out of."""
    found = select(_ended.digest).where(_ended.digest == digest_of(session))
    return tx.execute(found).scalar_one_or_none() is not None
