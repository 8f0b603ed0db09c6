"""Credentials: OAuth logins at the ECs of Externals, with encrypted tokens."""

from collections.abc import Collection
from dataclasses import asdict, replace
from datetime import datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction
from headwater.domain.errors import InUse, NotFound
from headwater.domain.ids import is_fid
from headwater.domain.oauth import Credential

_credentials = tables.credentials.c
_crawlers = tables.crawlers.c
_ROWS = select(tables.credentials)
#: Maximum number of crawlers that an error names.
_NAMED = 10


def get(tx: Transaction, external: str, fid: str) -> Credential:
    """Return a credential of an External.

    Raises:
        NotFound: the External has no credential of that fid.
    """
    found = find(tx, fid)
    if found is None or found.external != external:
        raise NotFound(f"external {external!r} has no credential {fid!r}")
    return found


def find(tx: Transaction, fid: str, *, lock: bool = False) -> Credential | None:
    """Return a credential, or None; ``lock`` prevents changes by others until the transaction ends."""
    if not is_fid(fid):
        return None
    wanted = _ROWS.where(_credentials.fid == fid)
    return tx.value(wanted.with_for_update() if lock else wanted, Credential)


def of_login(tx: Transaction, external: str, digest: str) -> Credential | None:
    """Return the credential of a login, locked for update, or None."""
    matches = (_credentials.external == external) & (_credentials.login_digest == digest)
    return tx.value(_ROWS.where(matches).with_for_update(), Credential)


def page(tx: Transaction, external: str, *, after: str | None, limit: int) -> list[Credential]:
    """Return credentials of an External, newest first, starting after ``after``."""
    wanted = _ROWS.where(_credentials.external == external).order_by(_credentials.fid.desc()).limit(limit)
    return tx.values(wanted if after is None else wanted.where(_credentials.fid < after), Credential)


def expiries(tx: Transaction, fids: Collection[str]) -> dict[str, datetime | None]:
    """Return the expiry times of credentials, by fid."""
    if not fids:
        return {}
    rows = tx.execute(select(_credentials.fid, _credentials.expires_at).where(_credentials.fid.in_(fids)))
    return {row.fid: row.expires_at for row in rows}


def store(tx: Transaction, credential: Credential) -> tuple[Credential, bool]:
    """Store the credential of a login, or renew the existing one; return it, and whether it is new."""
    present = of_login(tx, credential.external, credential.login_digest)
    if present is None:
        try:
            with tx.savepoint():
                tx.execute(insert(tables.credentials).values(asdict(credential)))
                return credential, True
        except IntegrityError:  # the unique index on logins
            present = of_login(tx, credential.external, credential.login_digest)
            if present is None:
                raise
    renewed = replace(credential, fid=present.fid, created_at=present.created_at)
    tx.execute(update(tables.credentials).where(_credentials.fid == present.fid).values(asdict(renewed)))
    return renewed, False


def remove(tx: Transaction, credential: Credential) -> None:
    """Delete a credential.

    Raises:
        InUse: a crawler uses it.
    """
    users = list(tx.execute(select(_crawlers.fid).where(_crawlers.login == credential.fid).limit(_NAMED + 1)).scalars())
    if users:
        named = ", ".join(users[:_NAMED]) + (" and others" if len(users) > _NAMED else "")
        raise InUse(
            f"credential {credential.fid} is named by {'crawler' if len(users) == 1 else 'crawlers'} {named}; "
            "let them name another one, or delete them"
        )
    try:
        tx.execute(delete(tables.credentials).where(_credentials.fid == credential.fid))
    except IntegrityError as error:
        raise InUse(f"credential {credential.fid} has just been taken into use; read it and try again") from error
