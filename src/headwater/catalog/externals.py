"""Queries and changes of Externals: their names, their versions, and the version that crawlers use."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, select, update

from headwater.catalog import events, objects, tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import EXTERNALS
from headwater.domain.errors import InUse, NotFound
from headwater.domain.event import publication
from headwater.domain.external import Definition, External
from headwater.domain.redaction import without_password
from headwater.domain.schema import cut

_versions = tables.external_versions

#: Held while a name is given, so that of two who want it one gets it.
_NAMES = "headwater.external_names"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of an External."""

    version: int
    created_at: datetime


def add_named(tx: Transaction, external: External) -> External:
    """Store a new External under a name that no other has, and return it.

    Raises:
        InUse: another one has its name.
    """
    _require_free_name(tx, external)
    return objects.add(tx, EXTERNALS, external)


def named(tx: Transaction, name: str) -> External | None:
    """Return the External of a name, the newest if several have it."""
    return next(iter(objects.page(tx, EXTERNALS, where={"name": name}, after=None, limit=1)), None)


def _require_free_name(tx: Transaction, external: External) -> None:
    """Raise unless no other has the name: by it, crawler servers and command lines that register find theirs."""
    name = external.meta.get("name")
    if not name:
        return
    tx.advisory_lock(_NAMES)
    other = named(tx, name)
    if other is not None:
        endpoint = other.definition.endpoint
        kind = "push" if endpoint is None else f"at {without_password(endpoint)}"
        raise InUse(
            f"the name {cut(name)!r} is that of External {other.fid} ({kind}): edit that one (PATCH "
            f"/externals/{other.fid}), or take another name"
        )


def at(tx: Transaction, fid: str, version: int) -> External:
    """Return an External as it was at a version; its ``meta`` is the current one.

    Raises:
        NotFound: the External or its version does not exist.
    """
    return _at(tx, objects.get(tx, EXTERNALS, fid), version)


def definition_at(tx: Transaction, fid: str, version: int) -> Definition:
    """Return an External's definition as it was at a version.

    Raises:
        NotFound: the version does not exist.
    """
    stored = _stored(tx, fid, version)
    if stored is None:
        raise NotFound(f"there is no version {version} of external {fid!r}")
    return msgspec.convert(stored.definition, Definition)


def to_run(tx: Transaction, fid: str, version: int | None = None) -> External:
    """Return an External for a new run: at the given version, or else at the one in use.

    Raises:
        NotFound: the External or its version does not exist.
    """
    external = objects.get(tx, EXTERNALS, fid)
    return _at(tx, external, external.in_use if version is None else version)


def versions(tx: Transaction, fid: str, *, before: int | None, limit: int) -> list[Version]:
    """Return the versions of an External before ``before``, newest first."""
    wanted = (
        select(_versions.c.version, _versions.c.created_at)
        .where(_versions.c.external == fid)
        .order_by(_versions.c.version.desc())
        .limit(limit)
    )
    return tx.values(wanted if before is None else wanted.where(_versions.c.version < before), Version)


def publish(tx: Transaction, external: External, version: int | None, *, at: datetime) -> External:
    """Set the version that crawlers use from now on; None unsets it, so that the newest is used.

    This is not an edit: ``version`` counts changes to the developer's definition, and that does not change.
    The caller holds the External locked.

    Raises:
        NotFound: the version does not exist.
    """
    if version is not None:
        _at(tx, external, version)
    if version == external.published:
        return external
    tx.execute(update(tables.externals).where(tables.externals.c.fid == external.fid).values(published=version))
    tx.annotate(version=version)
    events.append(tx, publication(external, version, at=at))
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
    matches = (_versions.c.external == fid) & (_versions.c.version == version)
    return tx.execute(select(_versions.c.definition, _versions.c.created_at).where(matches)).one_or_none()
