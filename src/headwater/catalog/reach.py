"""What a limited key reaches: streams, crawlers and their tasks, and which Externals they belong to."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS, EXTERNALS, STREAMS, TASKS, ObjectType
from headwater.domain.ids import is_fid
from headwater.domain.scope import Reach

_crawlers = tables.crawlers.c
_tasks = tables.tasks.c


_KINDS: dict[str, ObjectType[Any]] = {kind.name: kind for kind in (STREAMS, EXTERNALS, CRAWLERS, TASKS)}


def allows(tx: Transaction, reach: Reach, kind: str, fid: str) -> bool | None:
    """Return whether an object is within reach; None if there is no such object."""
    if kind not in _KINDS:
        return False
    if not is_fid(fid):
        return None
    table = _KINDS[kind].table
    found = tx.execute(select(within(_KINDS[kind], reach)).select_from(table).where(table.c.fid == fid)).scalar()
    return None if found is None else bool(found)


def within(kind: ObjectType[Any], reach: Reach) -> ColumnElement[bool]:
    """Return the condition by which an object is within reach."""
    reached = or_(_crawlers.stream.in_(_sorted(reach.streams)), _crawlers.fid.in_(_sorted(reach.crawlers)))
    if kind is CRAWLERS:
        return reached
    if kind is STREAMS:
        fed: Select[Any] = select(_crawlers.stream).where(reached)
        return or_(tables.streams.c.fid.in_(_sorted(reach.streams)), tables.streams.c.fid.in_(fed))
    if kind is TASKS:
        return _tasks.crawler.in_(select(_crawlers.fid).where(reached))
    return kind.table.c.fid.in_(select(_crawlers.external).where(reached))


def _sorted(fids: frozenset[str]) -> Sequence[str]:
    return sorted(fids)
