"""Lists of streams, crawlers and Externals for people: by name and by their latest run, in several orders."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Text, and_, case, func, literal, or_, select

from headwater.catalog import tables
from headwater.catalog.core.dialects import folded, holds
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS, EXTERNALS, STREAMS, ObjectType
from headwater.domain.ids import RelationalObject
from headwater.domain.task import Reason

T = TypeVar("T", bound=RelationalObject)

_streams, _crawlers, _externals = tables.streams.c, tables.crawlers.c, tables.externals.c
#: Characters of a name by which it is sorted: cursors have them, too.
_NAME = 120


class ObjectOrder(StrEnum):
    """By what a list is sorted; by default by creation."""

    CREATED = "created"
    NAME = "name"
    #: Documents that a stream shows.
    DOCS = "docs"
    #: Bytes of the document versions that a stream keeps.
    SIZE = "size"
    #: When the latest run of a stream or a crawler began.
    LATEST = "latest"
    #: When a crawler runs next.
    NEXT = "next"
    #: How many crawlers an External has.
    CRAWLERS = "crawlers"
    #: When an External was changed.
    CHANGED = "changed"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an object stands in a list: a page begins after one.

    With the value that it is sorted by, so that a page begins at the same place where that value has changed since, or
    the object is gone.
    """

    fid: str
    #: None if it has none; such objects are the last. Also None in a list by creation.
    value: int | str | datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Listed(Generic[T]):
    """An object of a list, and its place."""

    value: T
    place: Place


@dataclass(frozen=True, kw_only=True)
class ObjectQuery:
    """Which objects to list, and in which order; all given fields must match."""

    #: What the name contains, ignoring case.
    name: str = ""
    #: Of crawlers: their External.
    external: str | None = None
    #: Of streams and crawlers: the state of their latest run, ``withheld`` or ``undone``.
    state: str | None = None
    order: ObjectOrder = ObjectOrder.CREATED
    is_descending: bool = True


def _name_of(meta: ColumnElement[Any]) -> ColumnElement[Any]:
    # Objects without a name stand behind the others.
    return func.nullif(folded(func.substr(func.trim(meta["name"].as_string()), 1, _NAME)), "", type_=Text())


def _latest(stream: ColumnElement[Any]) -> ColumnElement[Any]:
    runs = tables.tasks.alias().c
    return select(func.max(runs.started_at)).where(runs.stream == stream).scalar_subquery()


def _state_of_latest(stream: ColumnElement[Any]) -> ColumnElement[Any]:
    runs = tables.tasks.alias().c
    withheld = runs.reason == literal(Reason.GATE_FAILED, runs.reason.type)
    kind = case((runs.removed_at.is_not(None), "undone"), (withheld, "withheld"), else_=runs.state)
    newest = select(kind).where(runs.stream == stream).order_by(runs.started_at.desc(), runs.fid.desc()).limit(1)
    return newest.scalar_subquery()


_kept = tables.segments.c
_used = tables.crawlers.alias().c
#: What each order compares.
_KEYS: dict[tuple[str, ObjectOrder], ColumnElement[Any]] = {
    ("streams", ObjectOrder.NAME): _name_of(_streams.meta),
    ("streams", ObjectOrder.DOCS): _streams.docs,
    ("streams", ObjectOrder.SIZE): select(func.coalesce(func.sum(_kept.bytes), 0))
    .where(_kept.stream == _streams.fid)
    .scalar_subquery(),
    ("streams", ObjectOrder.LATEST): _latest(_streams.fid),
    ("crawlers", ObjectOrder.NAME): _name_of(_crawlers.meta),
    ("crawlers", ObjectOrder.LATEST): _latest(_crawlers.stream),
    ("crawlers", ObjectOrder.NEXT): _crawlers.next_run_at,
    ("externals", ObjectOrder.NAME): _name_of(_externals.meta),
    ("externals", ObjectOrder.CRAWLERS): select(func.count()).where(_used.external == _externals.fid).scalar_subquery(),
    ("externals", ObjectOrder.CHANGED): _externals.updated_at,
}
_STREAM_OF = {STREAMS.name: _streams.fid, CRAWLERS.name: _crawlers.stream}


def type_of(kind: ObjectType[Any], order: ObjectOrder) -> type | None:
    """Return the type of the values that a list is sorted by; None of one by creation."""
    return None if order is ObjectOrder.CREATED else _KEYS[kind.name, order].type.python_type


def page(
    tx: Transaction, kind: ObjectType[T], query: ObjectQuery, *, after: Place | None, limit: int
) -> list[Listed[T]]:
    """Return objects, starting after a place."""
    if query.order is ObjectOrder.CREATED:
        places = _by_creation(tx, kind, query, after, limit)
    else:
        places = _by_value(tx, kind, query, after, limit)
    found = {
        value.fid: value
        for value in tx.values(kind.rows.where(kind.table.c.fid.in_([place.fid for place in places])), kind.value)
    }
    return [Listed(value=found[place.fid], place=place) for place in places if place.fid in found]


def _by_creation(
    tx: Transaction, kind: ObjectType[Any], query: ObjectQuery, after: Place | None, limit: int
) -> list[Place]:
    fid = kind.table.c.fid
    wanted = select(fid).where(*_conditions(kind, query)).limit(limit)
    wanted = wanted.order_by(fid.desc() if query.is_descending else fid.asc())
    if after is not None:
        wanted = wanted.where(fid < after.fid if query.is_descending else fid > after.fid)
    return [Place(fid=found) for found in tx.execute(wanted).scalars()]


def _by_value(
    tx: Transaction, kind: ObjectType[Any], query: ObjectQuery, after: Place | None, limit: int
) -> list[Place]:
    key = _KEYS[kind.name, query.order].label("key")
    each = select(kind.table.c.fid, key).where(*_conditions(kind, query)).subquery().c
    by = (each.key, each.fid)
    wanted = select(each.fid, each.key).limit(limit)
    # Said by itself, as databases differ in where they sort what is missing.
    wanted = wanted.order_by(
        each.key.is_(None), *((column.desc() if query.is_descending else column.asc()) for column in by)
    )
    if after is not None:
        wanted = wanted.where(_follows(each.key, each.fid, after, query.is_descending))
    return [Place(fid=row.fid, value=row.key) for row in tx.execute(wanted)]


def _follows(
    key: ColumnElement[Any], fid: ColumnElement[Any], after: Place, is_descending: bool
) -> ColumnElement[bool]:
    is_later = fid < after.fid if is_descending else fid > after.fid
    if after.value is None:
        return and_(key.is_(None), is_later)
    value = literal(after.value, key.type)
    return or_(key.is_(None), key < value if is_descending else key > value, and_(key == value, is_later))


def _conditions(kind: ObjectType[Any], query: ObjectQuery) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if query.name:
        found.append(holds(func.lower(kind.table.c.meta["name"].as_string()), query.name.lower()))
    if query.external is not None and kind is CRAWLERS:
        found.append(_crawlers.external == query.external)
    if query.state is not None and kind is not EXTERNALS:
        found.append(_state_of_latest(_STREAM_OF[kind.name]) == query.state)
    return found


def crawlers_of(tx: Transaction, externals: list[str]) -> dict[str, int]:
    """Return how many crawlers each External has that has one."""
    counted = select(_crawlers.external, func.count().label("crawlers")).where(_crawlers.external.in_(externals))
    return {row.external: row.crawlers for row in tx.execute(counted.group_by(_crawlers.external))}


def sizes_of(tx: Transaction, streams: list[str]) -> dict[str, int]:
    """Return how many bytes of document versions each stream keeps that keeps one."""
    size = func.sum(_kept.bytes).label("size")
    summed = select(_kept.stream, size).where(_kept.stream.in_(streams)).group_by(_kept.stream)
    return {row.stream: int(row.size) for row in tx.execute(summed)}
