"""API keys: stored hashed, with their scopes, reach and expiry."""

import secrets
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, update

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.vault import digest_of
from headwater.domain.errors import MovedMeanwhile, NotFound, VersionMismatch
from headwater.domain.ids import is_fid, new_fid
from headwater.domain.scope import Reach, Scope

_keys = tables.keys.c
#: Prefix of every key: distinguishes it from a task token, and makes leaked keys searchable.
PREFIX = "hw_"


@dataclass(frozen=True, kw_only=True)
class Key:
    """An API key, without its secret."""

    fid: str
    name: str
    scopes: tuple[Scope, ...]
    #: The streams and crawlers that it is limited to; both None: all there are.
    streams: tuple[str, ...] | None = None
    crawlers: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    #: When it was last used, to the minute; None if never.
    last_used_at: datetime | None = None
    #: Until when the secret before the last rotation works as well.
    former_until: datetime | None = None
    created_at: datetime
    revoked_at: datetime | None = None
    version: int = 1

    def allows(self, needed: Scope) -> bool:
        """Return whether the key has the needed scope."""
        return any(scope.allows(needed) for scope in self.scopes)

    @property
    def reach(self) -> Reach | None:
        """The objects that it is limited to; None for all."""
        if self.streams is None and self.crawlers is None:
            return None
        return Reach(streams=frozenset(self.streams or ()), crawlers=frozenset(self.crawlers or ()))


_KEYS = select(*(_keys[name] for name in Key.__dataclass_fields__))
#: The fields that an edit may change.
_WRITABLE = ("name", "scopes", "streams", "crawlers", "expires_at")


def new_secret() -> str:
    """Return a new secret for a key."""
    return PREFIX + secrets.token_urlsafe(32)


def add(tx: Transaction, *, name: str, scopes: tuple[Scope, ...], at: datetime, **limits: Any) -> tuple[Key, str]:
    """Create a key and return it with its secret, which is not stored and cannot be shown again.

    Args:
        tx: the transaction.
        name: whose key it is, or what for.
        scopes: what it may do.
        at: now.
        limits: ``streams``, ``crawlers``, ``expires_at``.
    """
    secret = new_secret()
    key = Key(fid=new_fid(at), name=name, scopes=scopes, created_at=at, **limits)
    tx.execute(insert(tables.keys).values(digest=digest_of(secret), **_columns(key)))
    tx.annotate(about=("keys", key.fid), name=name, scopes=list(scopes))
    return key, secret


def for_person(
    tx: Transaction, *, person: str, name: str, scope: Scope, expires_at: datetime, at: datetime
) -> Key | None:
    """Return the key of a person who has signed in elsewhere, with a scope until a moment; None if it is revoked.

    It has no secret, so that it signs in nobody else. ``person`` identifies the person.
    """
    # No hash of a secret looks like this.
    digest = "oidc" + digest_of(person)[4:]
    found = tx.value(_KEYS.where(_keys.digest == digest).with_for_update(), Key)
    if found is None:
        key = Key(fid=new_fid(at), name=name, scopes=(scope,), expires_at=expires_at, created_at=at)
        tx.execute(insert(tables.keys).values(digest=digest, **_columns(key)))
        tx.annotate(about=("keys", key.fid), name=name, scopes=[scope])
        return key
    if found.revoked_at is not None:
        return None
    new = replace(found, name=name, scopes=(scope,), expires_at=expires_at, version=found.version + 1)
    return save(tx, found, new)


def add_first(tx: Transaction, *, name: str, scopes: tuple[Scope, ...], at: datetime) -> tuple[Key, str] | None:
    """Create a key and return it with its secret, unless any key was ever created."""
    return None if are_there(tx) else add(tx, name=name, scopes=scopes, at=at)


def find(tx: Transaction, secret: str, at: datetime) -> Key | None:
    """Return the key with a secret, or None if there is none, or it is revoked or has expired."""
    digest = digest_of(secret)
    former = and_(_keys.former_digest == digest, _keys.former_until > at)
    return tx.value(_KEYS.where(or_(_keys.digest == digest, former), *_valid(at)), Key)


def valid(tx: Transaction, fid: str, at: datetime) -> Key | None:
    """Return a key by its fid, or None if there is none, or it is revoked or has expired."""
    return tx.value(_KEYS.where(_keys.fid == fid, *_valid(at)), Key)


def is_valid(tx: Transaction, fid: str, at: datetime) -> bool:
    """Return whether a key has neither been revoked nor expired."""
    return valid(tx, fid, at) is not None


def _valid(at: datetime) -> tuple[ColumnElement[bool], ...]:
    return _keys.revoked_at.is_(None), or_(_keys.expires_at.is_(None), _keys.expires_at > at)


def get(tx: Transaction, fid: str, *, lock: bool = False) -> Key:
    """Return a key; ``lock`` prevents changes by others until the transaction ends.

    Raises:
        NotFound: the key does not exist.
    """
    wanted = _KEYS.where(_keys.fid == fid)
    key = tx.value(wanted.with_for_update() if lock else wanted, Key) if is_fid(fid) else None
    if key is None:
        raise NotFound(f"there is no key {fid!r}; 'headwater keys list' shows them")
    return key


def listed(tx: Transaction) -> list[Key]:
    """Return every key, oldest first."""
    return tx.values(_KEYS.order_by(_keys.fid), Key)


def page(tx: Transaction, *, name: str | None, start: str | None, after: str | None, limit: int) -> list[Key]:
    """Return keys, newest first; ``start`` is the start of a fid."""
    wanted = _KEYS.order_by(_keys.fid.desc()).limit(limit)
    if name is not None:
        wanted = wanted.where(_keys.name == name)
    if start is not None:
        wanted = wanted.where(_keys.fid.between(start, f"{start}g"))
    if after is not None:
        wanted = wanted.where(_keys.fid < after)
    return tx.values(wanted, Key)


def are_there(tx: Transaction) -> bool:
    """Return whether any key was ever created."""
    return tx.execute(select(func.count()).select_from(tables.keys)).scalar_one() > 0


def save(tx: Transaction, old: Key, new: Key) -> Key:
    """Store an edit of a key.

    Raises:
        NotFound: the key was revoked.
        MovedMeanwhile: it was changed since ``old`` was read.
    """
    _require_present(old)
    before, after = _columns(old), _columns(new)
    fields = [f"/{name}" for name in _WRITABLE if before[name] != after[name]]
    _store(tx, old, {name: after[name] for name in (*_WRITABLE, "version")})
    tx.annotate(about=("keys", old.fid), name=new.name, fields=fields or None)
    return new


def rotate(tx: Transaction, old: Key, new: Key) -> str:
    """Give a key another secret and return it; the former one works until ``new.former_until``.

    Raises:
        NotFound: the key was revoked.
        MovedMeanwhile: it was changed since ``old`` was read.
    """
    _require_present(old)
    secret = new_secret()
    values = {name: value for name, value in _columns(new).items() if name in {"former_until", "version"}}
    _store(tx, old, values | {"former_digest": tables.keys.c.digest, "digest": digest_of(secret)})
    tx.annotate(about=("keys", old.fid), name=old.name)
    return secret


def revoke(tx: Transaction, fid: str, *, at: datetime, expected: frozenset[int] | None = None) -> None:
    """Revoke a key, effective immediately. A revoked key stays as it is.

    Raises:
        NotFound: the key does not exist.
        VersionMismatch: it has none of the expected versions.
    """
    key = get(tx, fid, lock=True)
    require_version(key, expected)
    tx.execute(update(tables.keys).where(_keys.fid == fid, _keys.revoked_at.is_(None)).values(revoked_at=at))
    tx.annotate(about=("keys", fid), name=key.name)


def require_version(key: Key, expected: frozenset[int] | None) -> None:
    """Raise unless the key has one of the expected versions; None expects nothing.

    Raises:
        VersionMismatch: it has another.
    """
    if expected is not None and key.version not in expected:
        raise VersionMismatch(f"the key is at version {key.version}; read it again and repeat your change")


def mark_used(tx: Transaction, fid: str, at: datetime) -> None:
    """Record when a key was last used."""
    tx.execute(update(tables.keys).where(_keys.fid == fid).values(last_used_at=at))


def _require_present(key: Key) -> None:
    if key.revoked_at is not None:
        raise NotFound(f"key {key.fid} was revoked, and cannot be changed; create another one")


def _store(tx: Transaction, old: Key, values: dict[str, Any]) -> None:
    ours = (_keys.fid == old.fid, _keys.version == old.version, _keys.revoked_at.is_(None))
    if tx.execute(update(tables.keys).where(*ours).values(values)).rowcount != 1:
        raise MovedMeanwhile(f"key {old.fid} was changed by somebody else meanwhile; read it and try again")


def _columns(key: Key) -> dict[str, Any]:
    lists = {"scopes": list(key.scopes), "streams": _listed(key.streams), "crawlers": _listed(key.crawlers)}
    return asdict(key) | lists


def _listed(fids: tuple[str, ...] | None) -> list[str] | None:
    return None if fids is None else list(fids)
