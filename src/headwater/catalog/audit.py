"""The audit: who did what to which object when. Rows are only ever added, in the transaction of what they tell of."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from sqlalchemy import insert, select

from headwater.catalog import tables
from headwater.catalog.transaction import Transaction
from headwater.catalog.witness import WITNESS, Deeds
from headwater.domain.fid import first_fid, new_fid
from headwater.domain.task import Origin

_audit = tables.audit.c

#: How callers know fields that are stored under another name.
_CALLED = {
    "sealed_credential": "credential",
    "doc_id_field": "docIdField",
    "oauth_parameters": "oauthParameters",
}
#: What changes with an edit and is no part of it.
_FOLLOWS = frozenset({"version", "updated_at", "credential_type", "planned_at", "next_run_at"})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """That somebody changed something."""

    fid: str
    at: datetime
    #: The API key; None for who needs none, on the server itself.
    key: str | None
    #: What the key was called then; ``cli`` for a command on the server, ``first start`` for the first key.
    name: str
    #: From where it was asked.
    origin: Origin
    #: What was done, by the name that the call has in OpenAPI.
    action: str
    #: The object that was made, changed or deleted, as its plural path name and fid.
    object_type: str | None
    object_fid: str | None
    #: Stands in the server's log, too.
    request_id: str | None
    #: What a reader needs to understand it; no secrets.
    detail: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Doer:
    """Somebody who does something: the witness of it."""

    #: Read when it is done, not when it is begun: an erasure may take minutes.
    clock: Callable[[], datetime]
    key: str | None = None
    name: str
    origin: Origin
    action: str
    object_type: str | None = None
    object_fid: str | None = None
    request_id: str | None = None
    detail: dict[str, Any] = field(default_factory=dict[str, Any])

    def write_down(self, tx: Transaction, deeds: Deeds) -> None:
        """Add what an action has changed to the audit."""
        at = self.clock()
        object_type, object_fid = deeds.about or (self.object_type, self.object_fid)
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
                detail={name: value for name, value in {**self.detail, **deeds.facts}.items() if value is not None},
            )
        )


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which entries are meant: those of which everything holds that is given."""

    key: str | None = None
    action: str | None = None
    object_type: str | None = None
    object_fid: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@contextmanager
def done_by(doer: Doer | None) -> Generator[None]:
    """Let what is written in the block be somebody's doing; None: nobody's."""
    token = WITNESS.set(doer)
    try:
        yield
    finally:
        WITNESS.reset(token)


def page(tx: Transaction, wanted: Wanted, *, before: str | None, limit: int) -> list[Entry]:
    """Return the entries that are meant, and are older than the one with the fid ``before``, newest first."""
    found = select(tables.audit).order_by(_audit.fid.desc()).limit(limit)
    for name in ("key", "action", "object_type", "object_fid"):
        value = getattr(wanted, name)
        if value is not None:
            found = found.where(_audit[name] == value)
    # By fid beside the moment: entries are found by their order, however many are younger.
    if wanted.since is not None:
        found = found.where(_audit.fid >= first_fid(wanted.since), _audit.at >= wanted.since)
    if wanted.until is not None:
        found = found.where(_audit.fid < first_fid(wanted.until, later=1), _audit.at < wanted.until)
    if before is not None:
        found = found.where(_audit.fid < before)
    return tx.values(found, Entry)


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return where an object differs from what it was, as callers write it: ``/timeout``, ``/params/language``."""
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
