"""Questions and changes that only Externals know: their versions, and which of them crawlers run with."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, select, update

from headwater.catalog import events, objects, tables
from headwater.catalog.objects import EXTERNALS
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import NotFound
from headwater.domain.event import publication
from headwater.domain.external import Definition, External

_versions = tables.external_versions


@dataclass(frozen=True, kw_only=True)
class Version:
    """That an External was described anew."""

    version: int
    created_at: datetime


def at(tx: Transaction, fid: str, version: int) -> External:
    """Return an External as it was described at a version; its ``meta`` is that of now.

    Raises:
        NotFound: there is no such External, or no such version of it.
    """
    return _at(tx, objects.get(tx, EXTERNALS, fid), version)


def definition_at(tx: Transaction, fid: str, version: int) -> Definition:
    """Return an External's definition as it was at a version.

    Raises:
        NotFound: there is no such version.
    """
    stored = _stored(tx, fid, version)
    if stored is None:
        raise NotFound(f"there is no version {version} of external {fid!r}")
    return msgspec.convert(stored.definition, Definition)


def to_run(tx: Transaction, fid: str, version: int | None = None) -> External:
    """Return an External as a run begins with it: at the version that is asked for, or else at the one in use.

    Raises:
        NotFound: there is no such External, or no such version of it.
    """
    external = objects.get(tx, EXTERNALS, fid)
    return _at(tx, external, external.in_use if version is None else version)


def versions(tx: Transaction, fid: str, *, before: int | None, limit: int) -> list[Version]:
    """Return the versions of an External before one of them, newest first."""
    wanted = (
        select(_versions.c.version, _versions.c.created_at)
        .where(_versions.c.external == fid)
        .order_by(_versions.c.version.desc())
        .limit(limit)
    )
    return tx.values(wanted if before is None else wanted.where(_versions.c.version < before), Version)


def publish(tx: Transaction, external: External, version: int | None, *, at: datetime) -> External:
    """Let crawlers run with a version from now on; None takes the mark away, so that it is the newest.

    This is no edit: ``version`` is that of what the External's developer says, and nothing of it changes.
    The caller holds the External locked.

    Raises:
        NotFound: there is no such version.
    """
    if version is not None:
        _at(tx, external, version)
    if version == external.published:
        return external
    tx.execute(update(tables.externals).where(tables.externals.c.fid == external.fid).values(published=version))
    tx.note(version=version)
    events.tell(tx, publication(external, version, at=at))
    return replace(external, published=version)


def _at(tx: Transaction, external: External, version: int) -> External:
    if version == external.version:
        return external
    stored = _stored(tx, external.fid, version)
    if stored is None:
        raise NotFound(
            f"there is no version {version} of external {external.fid!r}; the newest is {external.version} "
            f"(GET /externals/{external.fid}/versions lists them)"
        )
    definition = msgspec.convert(stored.definition, Definition)
    return replace(external, definition=definition, version=version, updated_at=stored.created_at)


def _stored(tx: Transaction, fid: str, version: int) -> Row[Any] | None:
    of_it = (_versions.c.external == fid) & (_versions.c.version == version)
    return tx.execute(select(_versions.c.definition, _versions.c.created_at).where(of_it)).one_or_none()
