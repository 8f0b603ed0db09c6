"""Lists of tasks: by time, state and owner, in several orders."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, literal, select, tuple_

from headwater.catalog import tables
from headwater.catalog.core.dialects import seconds_between
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import TASKS, starts
from headwater.domain.ids import is_fid
from headwater.domain.task import Task, TaskState

_tasks = tables.tasks.c


class TaskOrder(StrEnum):
    """By what a list of tasks is sorted; by default by their creation."""

    CREATED = "created_at"
    STARTED = "started_at"
    ENDED = "ended_at"
    DURATION = "duration"
    DOCS = "docs"


#: What each order compares. A fid begins with the time of creation.
_KEYS: dict[TaskOrder, ColumnElement[Any]] = {
    TaskOrder.CREATED: _tasks.fid,
    TaskOrder.STARTED: _tasks.started_at,
    TaskOrder.ENDED: _tasks.ended_at,
    TaskOrder.DURATION: seconds_between(_tasks.started_at, _tasks.ended_at),
    TaskOrder.DOCS: _tasks.docs,
}
#: Orders that only tasks have a place in that have ended.
_OF_ENDED = frozenset({TaskOrder.ENDED, TaskOrder.DURATION})


@dataclass(frozen=True, kw_only=True)
class TaskQuery:
    """Which tasks to list, and in which order; all given fields must match."""

    states: frozenset[TaskState] = frozenset()
    crawler: str | None = None
    stream: str | None = None
    external: str | None = None
    #: Of ``meta.name``.
    name: str | None = None
    #: The current attempt started at that time or later.
    since: datetime | None = None
    #: It started before that time.
    until: datetime | None = None
    #: It ended at that time or later.
    ended_since: datetime | None = None
    #: The start of its fid.
    fid: str | None = None
    order: TaskOrder = TaskOrder.CREATED
    is_descending: bool = True


def page(
    tx: Transaction,
    query: TaskQuery,
    *,
    after: str | None,
    limit: int,
    within: ColumnElement[bool] | None = None,
) -> list[Task]:
    """Return tasks, starting after the task ``after``; ``within`` is a further condition.

    Orders by end or duration list tasks that have ended.
    """
    wanted = TASKS.rows.where(*_conditions(query)).limit(limit)
    if within is not None:
        wanted = wanted.where(within)
    key = _KEYS[query.order]
    # Unique by the fid. The place of ``after`` is read from its row, so that the cursor need not carry it.
    by: tuple[ColumnElement[Any], ...] = (key,) if query.order is TaskOrder.CREATED else (key, _tasks.fid)
    wanted = wanted.order_by(*((column.desc() if query.is_descending else column.asc()) for column in by))
    if after is not None:
        place = tx.execute(select(*by).where(_tasks.fid == after)).one_or_none() if is_fid(after) else None
        if place is None:
            return []
        mine, theirs = tuple_(*by), tuple_(*map(_as, place, by))
        wanted = wanted.where(mine < theirs if query.is_descending else mine > theirs)
    return tx.values(wanted, Task)


def _as(value: Any, column: ColumnElement[Any]) -> ColumnElement[Any]:
    return literal(value, column.type)


def _conditions(query: TaskQuery) -> list[ColumnElement[bool]]:
    equal = {
        _tasks.crawler: query.crawler,
        _tasks.stream: query.stream,
        _tasks.external: query.external,
        _tasks.meta["name"].as_string(): query.name,
    }
    found: list[ColumnElement[bool]] = [column == value for column, value in equal.items() if value is not None]
    if query.states:
        found.append(_tasks.state.in_(sorted(query.states)))
    if query.since is not None:
        found.append(_tasks.started_at >= query.since)
    if query.until is not None:
        found.append(_tasks.started_at < query.until)
    if query.ended_since is not None:
        found.append(_tasks.ended_at >= query.ended_since)
    if query.fid is not None:
        found.append(starts(tables.tasks, query.fid))
    if query.order in _OF_ENDED:
        found.append(_tasks.ended_at.is_not(None))
    return found
