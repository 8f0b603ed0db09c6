"""API keys: stored hashed, with their scopes."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, insert, select, update

from headwater.catalog import tables
from headwater.catalog.transaction import Transaction
from headwater.catalog.vault import digest_of
from headwater.domain.errors import NotFound
from headwater.domain.fid import new_fid

_keys = tables.keys.c
#: What every key begins with, so that it is told from a task token, and found when it leaks.
PREFIX = "hw_"
_KEYS = select(_keys.fid, _keys.name, _keys.scopes, _keys.created_at, _keys.revoked_at)


class Scope(StrEnum):
    """What a key may do; each scope holds the ones before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def allows(self, needed: "Scope") -> bool:
        """Whether this scope is enough where ``needed`` is asked for."""
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, kw_only=True)
class Key:
    """An API key, without its secret."""

    fid: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    revoked_at: datetime | None

    def allows(self, needed: Scope) -> bool:
        """Whether the key may do what needs a scope."""
        return any(scope.allows(needed) for scope in self.scopes)


def add(tx: Transaction, *, name: str, scopes: tuple[Scope, ...], at: datetime) -> tuple[Key, str]:
    """Make a key and return it with its secret, which is not stored and cannot be shown again."""
    secret = PREFIX + secrets.token_urlsafe(32)
    key = Key(fid=new_fid(at), name=name, scopes=scopes, created_at=at, revoked_at=None)
    tx.execute(
        insert(tables.keys).values(fid=key.fid, name=name, digest=digest_of(secret), scopes=list(scopes), created_at=at)
    )
    tx.note(about=("keys", key.fid), name=name, scopes=list(scopes))
    return key, secret


def add_first(tx: Transaction, *, name: str, scopes: tuple[Scope, ...], at: datetime) -> tuple[Key, str] | None:
    """Make a key and return it with its secret, unless one was ever made."""
    return None if are_there(tx) else add(tx, name=name, scopes=scopes, at=at)


def find(tx: Transaction, secret: str) -> Key | None:
    """Return the key with a secret, or None when there is none or it is revoked."""
    return tx.value(_KEYS.where(_keys.digest == digest_of(secret), _keys.revoked_at.is_(None)), Key)


def is_valid(tx: Transaction, fid: str) -> bool:
    """Tell whether a key has not been revoked."""
    return tx.value(_KEYS.where(_keys.fid == fid, _keys.revoked_at.is_(None)), Key) is not None


def listed(tx: Transaction) -> list[Key]:
    """Return every key, oldest first."""
    return tx.values(_KEYS.order_by(_keys.fid), Key)


def are_there(tx: Transaction) -> bool:
    """Tell whether any key was ever made."""
    return tx.execute(select(func.count()).select_from(tables.keys)).scalar_one() > 0


def revoke(tx: Transaction, fid: str, *, at: datetime) -> None:
    """End a key; nothing is let in with it from now on. One that has ended stays as it is.

    Raises:
        NotFound: there is no such key.
    """
    key = tx.value(_KEYS.where(_keys.fid == fid), Key)
    if key is None:
        raise NotFound(f"there is no key {fid!r}; 'headwater keys list' shows them")
    tx.execute(update(tables.keys).where(_keys.fid == fid, _keys.revoked_at.is_(None)).values(revoked_at=at))
    tx.note(about=("keys", fid), name=key.name)
