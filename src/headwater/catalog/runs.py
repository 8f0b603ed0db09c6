"""Queries on runs for people: filtered lists, names, what needs somebody, what the last day brought."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    TextClause,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    text,
    true,
    union_all,
)

from headwater.catalog import objects, tables, task_lists
from headwater.catalog.core.dialects import seconds_between
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS, STREAMS, TASKS, WEBHOOKS, ObjectType
from headwater.catalog.task_lists import TaskOrder, TaskQuery
from headwater.domain.crawler import Crawler
from headwater.domain.ids import first_fid, is_fid
from headwater.domain.task import Origin, Task, TaskState
from headwater.domain.webhook import Webhook

_tasks = tables.tasks.c
_IS_OPEN, _IS_WITHHELD, _IS_UNDONE = map(text, (tables.OPEN, tables.WITHHELD, tables.UNDONE))
#: Objects that an overview takes into account.
MOST = 2_000


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """A filter on runs: all given fields must match."""

    states: Sequence[TaskState] = ()
    crawler: str | None = None
    stream: str | None = None
    external: str | None = None
    origin: Origin | None = None
    #: Only those that a gate withholds.
    is_withheld: bool = False
    #: Only those that are deleted from their stream.
    is_removed: bool = False
    #: Created then or later.
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """Runs of a crawler, of one kind, that have started within the same quarter of an hour."""

    crawler: str
    #: The state, ``withheld`` or ``undone``.
    kind: str
    runs: int
    #: The only one of them, or one of several.
    fid: str
    began_at: datetime
    #: When the last one ended; None while one is open.
    ended_at: datetime | None
    docs: int
    #: What those of them did that are counted.
    added: int
    changed: int
    removed: int


def page(tx: Transaction, wanted: RunFilter, *, after: str | None, limit: int) -> list[Task]:
    """Return matching runs, newest first, starting after ``after``."""
    found = TASKS.rows.where(*_matching(wanted)).order_by(_tasks.fid.desc()).limit(limit)
    return tx.values(found if after is None else found.where(_tasks.fid < after), Task)


def sorted_page(
    tx: Transaction, wanted: RunFilter, *, order: TaskOrder, is_descending: bool, after: str | None, limit: int
) -> list[Task]:
    """Return matching runs in an order, starting after the run ``after``."""
    query = TaskQuery(order=order, is_descending=is_descending)
    return task_lists.page(tx, query, after=after, limit=limit, within=and_(true(), *_matching(wanted)))


def newer(tx: Transaction, wanted: RunFilter, *, than: str, most: int) -> int:
    """Return how many matching runs are newer than one, counted up to ``most``."""
    found = select(_tasks.fid).where(*_matching(wanted), _tasks.fid > than).limit(most).subquery()
    return tx.execute(select(func.count()).select_from(found)).scalar_one()


def count_open(tx: Transaction) -> int:
    """Return how many runs are open."""
    return tx.execute(select(func.count()).select_from(tables.tasks).where(_IS_OPEN)).scalar_one()


#: Seconds within which those of a group have started.
_QUARTER = 900.0


def groups(tx: Transaction, *, since: datetime, ended_since: datetime) -> list[RunGroup]:
    """Return the runs created since a time, and those that are open, in groups; without what ended earlier."""
    did = [_tasks.summary[name].as_integer().label(name) for name in ("added", "changed", "removed")]
    each = (
        select(
            *(_tasks.crawler, _tasks.fid, _tasks.started_at, _tasks.ended_at, _tasks.docs, *did),
            case((_IS_UNDONE, "undone"), (_IS_WITHHELD, "withheld"), else_=_tasks.state).label("kind"),
            cast(seconds_between(literal(since, _tasks.started_at.type), _tasks.started_at) / _QUARTER, Integer).label(
                "quarter"
            ),
        )
        .where(or_(_tasks.fid >= first_fid(since), _IS_OPEN))
        .where(or_(_tasks.ended_at.is_(None), _tasks.ended_at >= ended_since))
        .subquery()
        .c
    )
    # If one is open, none of the times is the last.
    ended_at = case((func.count(each.ended_at) == func.count(), func.max(each.ended_at)), else_=None)
    began_at = func.min(each.started_at).label("began_at")
    sums = [
        func.coalesce(func.sum(each[name]), 0).cast(BigInteger).label(name)
        for name in ("docs", "added", "changed", "removed")
    ]
    wanted = select(
        *(each.crawler, each.kind, func.count().label("runs"), func.max(each.fid).label("fid")),
        *(began_at, ended_at.label("ended_at"), *sums),
    )
    return tx.values(wanted.group_by(each.crawler, each.kind, each.quarter).order_by(began_at), RunGroup)


def docs_between(tx: Transaction, since: datetime, until: datetime) -> int:
    """Return how many documents the runs have brought that were created between two times."""
    those = (_tasks.fid >= first_fid(since)) & (_tasks.fid < first_fid(until))
    return int(tx.execute(select(func.coalesce(func.sum(_tasks.docs), 0)).where(those)).scalar_one())


def of_stream(tx: Transaction, stream: str, *, limit: int) -> list[Task]:
    """Return a stream's newest runs, the newest first."""
    found = TASKS.rows.where(_tasks.stream == stream).order_by(_tasks.started_at.desc(), _tasks.fid.desc())
    return tx.values(found.limit(limit), Task)


def docs_of_newest(tx: Transaction, streams: Collection[str], *, limit: int) -> dict[str, list[int]]:
    """Return how many documents the newest runs of each stream brought, the newest first."""
    # One statement: as one for each stream, most of the time would go to statements.
    newest = [
        select(_tasks.stream, _tasks.docs, _tasks.started_at)
        .where(_tasks.stream == stream)
        .order_by(_tasks.started_at.desc())
        .limit(limit)
        .subquery()
        for stream in streams
    ]
    found: dict[str, list[int]] = {stream: [] for stream in streams}
    if newest:
        runs = tx.execute(union_all(*(select(each) for each in newest))).all()
        for run in sorted(runs, key=lambda run: run.started_at, reverse=True):
            found[run.stream].append(run.docs)
    return found


def names(tx: Transaction, kind: ObjectType[Any], fids: Collection[str]) -> dict[str, str]:
    """Return the names of objects by fid; one without a name is called by the end of its fid."""
    table = kind.table.c
    rows = tx.execute(select(table.fid, table.meta).where(table.fid.in_(set(fids))))
    found = {row.fid: name_of(row.fid, row.meta) for row in rows}
    return {fid: found.get(fid, f"…{fid[-6:]}") for fid in fids}


def name_of(fid: str, meta: dict[str, Any]) -> str:
    """Return what an object is called."""
    name = meta.get("name")
    return str(name) if isinstance(name, str) and name.strip() else f"…{fid[-6:]}"


def crawlers(tx: Transaction) -> list[Crawler]:
    """Return the crawlers, newest first, as many as an overview takes."""
    return objects.page(tx, CRAWLERS, where={}, after=None, limit=MOST)


def troubled_webhooks(tx: Transaction) -> list[Webhook]:
    """Return the webhooks that fail, or that a failure has disabled."""
    columns = tables.webhooks.c
    disabled = ~columns.enabled & (columns.disabled_reason != "by hand")
    return tx.values(WEBHOOKS.rows.where(or_(disabled, columns.failing_since.is_not(None))).limit(50), Webhook)


def expiring(tx: Transaction, *, before: datetime) -> list[tuple[str, datetime]]:
    """Return the crawlers whose login expires before a time, with that time; the soonest first."""
    login, crawler = tables.credentials.c, tables.crawlers.c
    wanted = (
        select(crawler.fid, login.expires_at)
        .join(tables.credentials, login.fid == crawler.login)
        .where(login.expires_at < before)
        .order_by(login.expires_at)
        .limit(50)
    )
    return [(row.fid, row.expires_at) for row in tx.execute(wanted)]


@dataclass(frozen=True, kw_only=True)
class Hit:
    """An object that a search found."""

    #: The plural path name.
    type: str
    fid: str
    name: str


def search(tx: Transaction, words: str, *, limit: int) -> list[Hit]:
    """Return objects whose name contains a text, ignoring case, or whose fid begins or ends with it."""
    looked_for = words.casefold()
    hits: list[Hit] = []
    for kind in (STREAMS, CRAWLERS, objects.EXTERNALS, WEBHOOKS):
        table = kind.table.c
        rows = tx.execute(select(table.fid, table.meta).order_by(table.fid.desc()).limit(MOST))
        hits += [
            Hit(type=kind.name, fid=row.fid, name=name)
            for row in rows
            if looked_for in (name := name_of(row.fid, row.meta)).casefold()
            or row.fid.startswith(looked_for)
            or row.fid.endswith(looked_for)
        ]
    if is_fid(looked_for):
        task = objects.find(tx, TASKS, looked_for)
        hits += [] if task is None else [Hit(type="runs", fid=task.fid, name=f"run {task.fid}")]
    return hits[:limit]


def disk_by_stream(tx: Transaction) -> list[tuple[str, int, int]]:
    """Return how many document versions each stream keeps, and their bytes, the largest first."""
    columns = tables.segments.c
    size = func.sum(columns.bytes)
    wanted = select(columns.stream, func.sum(columns.docs).label("docs"), size.label("bytes")).group_by(columns.stream)
    return [(row.stream, int(row.docs), int(row.bytes)) for row in tx.execute(wanted.order_by(size.desc()).limit(100))]


def _matching(wanted: RunFilter) -> Iterator[ColumnElement[bool] | TextClause]:
    if wanted.states:
        yield _tasks.state.in_(wanted.states)
    for name in ("crawler", "stream", "external", "origin"):
        value = getattr(wanted, name)
        if value is not None:
            yield _tasks[name] == value
    if wanted.is_withheld:
        yield _IS_WITHHELD
    if wanted.is_removed:
        yield _IS_UNDONE
    if wanted.since is not None:
        yield _tasks.fid >= first_fid(wanted.since)
