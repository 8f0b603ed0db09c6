"""The audit log: who did what to which object, and when, in the transaction of the change.

Append-only. Entries are deleted only when a purge has moved the mark in ``audit_kept`` past them, which is an entry
itself; triggers refuse everything else.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Any, cast

from sqlalchemy import delete, insert, select, update

from headwater.catalog import tables
from headwater.catalog.core.change_tracking import AUDIT_RECORDER, Changes
from headwater.catalog.core.transaction import Transaction
from headwater.domain.ids import first_fid, new_fid
from headwater.domain.task import Origin

_audit = tables.audit.c

#: Public names of fields that are stored under another name.
_CALLED = {
    "sealed_credential": "credential",
    "doc_id_field": "docIdField",
    "delete_marker": "deleteMarker",
    "oauth_parameters": "oauthParameters",
}
#: Fields that change as a consequence of an edit.
_FOLLOWS = frozenset({"version", "updated_at", "credential_type", "planned_at", "next_run_at"})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One change by an actor."""

    fid: str
    at: datetime
    #: The API key; None for a command on the server itself.
    key: str | None
    #: The key's name at that time; ``cli`` for a command on the server, ``first start`` for the first key.
    name: str
    #: The client that sent the request.
    origin: Origin
    #: The action, by its operation id in OpenAPI.
    action: str
    #: The object that was created, changed or deleted, as its plural path name and fid.
    object_type: str | None
    object_fid: str | None
    #: The request's id in the server's log.
    request_id: str | None
    #: Details for readers; no secrets.
    detail: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Actor:
    """The actor of a change, and its audit recorder."""

    #: Read when the change is made, not when the request starts: an erasure may take minutes.
    clock: Callable[[], datetime]
    key: str | None = None
    name: str
    origin: Origin
    action: str
    object_type: str | None = None
    object_fid: str | None = None
    request_id: str | None = None
    detail: dict[str, Any] = field(default_factory=dict[str, Any])

    def record(self, tx: Transaction, changes: Changes) -> None:
        """Add a row to the audit for what an action changed."""
        at = self.clock()
        object_type, object_fid = changes.about or (self.object_type, self.object_fid)
        tx.execute(
            insert(tables.audit).values(
                fid=new_fid(at),
                at=at,
                key=self.key,
                name=self.name,
                origin=self.origin,
                action=self.action,
                object_type=object_type,
                object_fid=object_fid,
                request_id=self.request_id,
                detail={name: value for name, value in {**self.detail, **changes.facts}.items() if value is not None},
            )
        )


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A filter on entries: all given fields must match."""

    key: str | None = None
    action: str | None = None
    object_type: str | None = None
    object_fid: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@contextmanager
def acting_as(doer: Actor | None) -> Generator[None]:
    """Record writes in the block as done by ``doer``; None records nothing."""
    token = AUDIT_RECORDER.set(doer)
    try:
        yield
    finally:
        AUDIT_RECORDER.reset(token)


def page(tx: Transaction, wanted: Wanted, *, before: str | None, limit: int) -> list[Entry]:
    """Return matching entries older than the one with the fid ``before``, newest first."""
    found = select(tables.audit).order_by(_audit.fid.desc()).limit(limit)
    for name in ("key", "action", "object_type", "object_fid"):
        value = getattr(wanted, name)
        if value is not None:
            found = found.where(_audit[name] == value)
    # By fid as well as by time: the index is in fid order, however many younger entries there are.
    if wanted.since is not None:
        found = found.where(_audit.fid >= first_fid(wanted.since), _audit.at >= wanted.since)
    if wanted.until is not None:
        found = found.where(_audit.fid < first_fid(wanted.until, later=1), _audit.at < wanted.until)
    if before is not None:
        found = found.where(_audit.fid < before)
    return tx.values(found, Entry)


def keep_since(tx: Transaction, before: datetime) -> bool:
    """Have the entries from before the day (UTC) of a time deleted; return whether there are such.

    By whole days, so that purges add few entries of their own.
    """
    since = first_fid(datetime.combine(before.astimezone(UTC).date(), time(), UTC))
    if tx.execute(select(_audit.fid).where(_audit.fid < since).limit(1)).first() is None:
        return False
    moved = update(tables.audit_kept).where(tables.audit_kept.c.since < since).values(since=since)
    if tx.execute(moved).rowcount:
        tx.annotate(before=before.date().isoformat())
    return True


def forget(tx: Transaction, *, limit: int) -> int:
    """Delete entries that are not kept any more, oldest first; return how many."""
    since = select(tables.audit_kept.c.since).scalar_subquery()
    oldest = select(_audit.fid).where(_audit.fid < since).order_by(_audit.fid).limit(limit)
    return tx.execute(delete(tables.audit).where(_audit.fid.in_(oldest))).rowcount


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the paths at which an object has changed, in the API's names: ``/timeout``, ``/params/language``."""
    return sorted(
        f"/{_CALLED.get(name, name)}{inner}"
        for name in before.keys() | after.keys()
        if name not in _FOLLOWS
        for inner in _differing(before.get(name), after.get(name))
    )


def _differing(before: Any, after: Any) -> list[str]:
    if before == after:
        return []
    if not isinstance(before, dict) or not isinstance(after, dict):
        return [""]
    old, new = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
    return [f"/{name}" for name in old.keys() | new.keys() if old.get(name) != new.get(name)]
