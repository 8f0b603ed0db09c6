"""Relational objects: what streams, externals, crawlers, tasks, webhooks and notifications share."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from headwater.catalog import events, tables
from headwater.catalog.audit import changed_fields
from headwater.catalog.core.transaction import Transaction
from headwater.domain.crawler import Crawler
from headwater.domain.errors import InUse, MovedMeanwhile, NotFound, VersionMismatch
from headwater.domain.event import creation, deletion, edit
from headwater.domain.external import External
from headwater.domain.ids import RelationalObject, is_fid
from headwater.domain.notification import Notification
from headwater.domain.stream import Stream
from headwater.domain.task import Task
from headwater.domain.webhook import Webhook

T = TypeVar("T", bound=RelationalObject)

#: As a limit: unlimited.
ALL = 1 << 31


@dataclass(frozen=True, kw_only=True)
class ObjectType(Generic[T]):
    """One type of relational object: its table, and how a row becomes its value."""

    #: The plural path name, ``tasks``; also the type in links.
    name: str
    table: Table
    #: Selects rows with the fields of ``value``.
    rows: Select[Any]
    value: type[T]

    @property
    def singular(self) -> str:
        """The object's ``type``, ``task``."""
        return self.name.removesuffix("s")


_present = (tables.external_versions.c.external == tables.externals.c.fid) & (
    tables.external_versions.c.version == tables.externals.c.version
)

STREAMS = ObjectType(name="streams", table=tables.streams, rows=select(tables.streams), value=Stream)
EXTERNALS = ObjectType(
    name="externals",
    table=tables.externals,
    rows=select(tables.externals, tables.external_versions.c.definition).join(tables.external_versions, _present),
    value=External,
)
CRAWLERS = ObjectType(name="crawlers", table=tables.crawlers, rows=select(tables.crawlers), value=Crawler)
TASKS = ObjectType(name="tasks", table=tables.tasks, rows=select(tables.tasks), value=Task)
WEBHOOKS = ObjectType(name="webhooks", table=tables.webhooks, rows=select(tables.webhooks), value=Webhook)
NOTIFICATIONS = ObjectType(
    name="notifications", table=tables.notifications, rows=select(tables.notifications), value=Notification
)

KINDS: dict[str, ObjectType[Any]] = {
    kind.name: kind for kind in (STREAMS, EXTERNALS, CRAWLERS, TASKS, WEBHOOKS, NOTIFICATIONS)
}


def get(tx: Transaction, kind: ObjectType[T], fid: str, *, lock: bool = False) -> T:
    """Return an object; ``lock`` prevents changes by others until the transaction ends.

    Raises:
        NotFound: the object does not exist.
    """
    found = find(tx, kind, fid, lock=lock)
    if found is None:
        raise NotFound(f"there is no {kind.singular} {fid!r}")
    return found


def find(tx: Transaction, kind: ObjectType[T], fid: str, *, lock: bool = False) -> T | None:
    """Return an object, or None."""
    if not is_fid(fid):
        return None
    wanted = kind.rows.where(kind.table.c.fid == fid)
    return tx.value(wanted.with_for_update(of=kind.table) if lock else wanted, kind.value)


def page(
    tx: Transaction,
    kind: ObjectType[T],
    *,
    where: Mapping[str, Any],
    after: str | None,
    limit: int,
    among: Select[Any] | None = None,
    within: ColumnElement[bool] | None = None,
) -> list[T]:
    """Return objects, newest first, starting after ``after``.

    ``where`` compares columns, or ``name`` in meta; ``fid`` is the start of one. ``among`` selects the candidate fids,
    and ``within`` is a further condition.
    """
    wanted = kind.rows.order_by(kind.table.c.fid.desc()).limit(limit)
    for field, value in where.items():
        wanted = wanted.where(starts(kind.table, value) if field == "fid" else _field(kind.table, field) == value)
    if among is not None:
        wanted = wanted.where(kind.table.c.fid.in_(among))
    if within is not None:
        wanted = wanted.where(within)
    if after is not None:
        wanted = wanted.where(kind.table.c.fid < after)
    return tx.values(wanted, kind.value)


def starts(table: Table, digits: str) -> ColumnElement[bool]:
    """Return whether a fid starts with some hex digits."""
    # A range, and not LIKE, which cannot use the primary key on every database. "g" sorts behind all hex digits.
    return table.c.fid.between(digits, f"{digits}g")


def _field(table: Table, field: str) -> ColumnElement[Any]:
    return table.c.meta["name"].as_string() if field == "name" else table.c[field]


def add(tx: Transaction, kind: ObjectType[T], value: T) -> T:
    """Store a new object and return it."""
    tx.execute(insert(kind.table).values(_columns(kind, value)))
    tx.annotate(about=(kind.name, value.fid), name=value.meta.get("name"))
    if isinstance(value, External):
        _add_version(tx, value)
    events.append(tx, creation(kind.singular, value))
    return value


def save(tx: Transaction, kind: ObjectType[T], old: T, new: T) -> T:
    """Store the differences between ``old``, which must still be current, and ``new``.

    Raises:
        MovedMeanwhile: the object was changed since ``old`` was read.
    """
    tx.annotate(fields=_edited_fields(kind, old, new))
    before = _columns(kind, old)
    # Only differences: counters that others increment meanwhile keep their values.
    values = {name: value for name, value in _columns(kind, new).items() if value != before[name]}
    changed = tx.execute(
        update(kind.table).where(kind.table.c.fid == old.fid, kind.table.c.version == old.version).values(values)
    )
    if changed.rowcount != 1:
        raise MovedMeanwhile(f"{kind.singular} {old.fid} was changed by somebody else meanwhile; read it and try again")
    if isinstance(new, External):
        _add_version(tx, new)
    events.append(tx, edit(kind.singular, old, new))
    return new


def remove(tx: Transaction, kind: ObjectType[T], value: T, *, at: datetime) -> None:
    """Delete an object, and the links that callers made to it.

    Raises:
        InUse: another object was created on it meanwhile.
    """
    fid = value.fid
    tx.execute(delete(tables.links).where((tables.links.c.from_fid == fid) | (tables.links.c.to_fid == fid)))
    try:
        tx.execute(delete(kind.table).where(kind.table.c.fid == fid))
    except IntegrityError as error:
        raise InUse(f"{kind.singular} {fid} has just been taken into use; read it and try again") from error
    events.append(tx, deletion(kind.singular, value, at=at))


def edited(at: datetime, version: int) -> dict[str, Any]:
    """Return the fields that every edit of an object sets."""
    return {"version": version + 1, "updated_at": at}


def require_version(value: RelationalObject, expected: frozenset[int] | None) -> None:
    """Raise unless the object has one of the expected versions; None expects nothing.

    Raises:
        VersionMismatch: it has another.
    """
    if expected is not None and value.version not in expected:
        raise VersionMismatch(f"the object is at version {value.version}; read it again and repeat your change")


def _add_version(tx: Transaction, external: External) -> None:
    tx.execute(
        insert(tables.external_versions).values(
            external=external.fid,
            version=external.version,
            definition=msgspec.to_builtins(external.definition),
            created_at=external.updated_at,
        )
    )


def _edited_fields(kind: ObjectType[Any], old: Any, new: Any) -> list[str] | None:
    """Return the fields of an object that an edit has changed; None if it was not an edit."""
    fields = changed_fields(_described(kind, old), _described(kind, new))
    if kind is TASKS:  # other fields of a task follow from its actions
        fields = [field for field in fields if field.startswith("/meta")]
    return fields or None


def _described(kind: ObjectType[Any], value: Any) -> dict[str, Any]:
    """Return an object's fields, with those of an External's definition among them."""
    definition: dict[str, Any] = msgspec.to_builtins(value.definition) if isinstance(value, External) else {}
    return _columns(kind, value) | definition


def _columns(kind: ObjectType[Any], value: Any) -> dict[str, Any]:
    return {name: field for name, field in asdict(value).items() if name in kind.table.c}
