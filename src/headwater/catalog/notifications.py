"""Queries and changes of notifications, other than edits: what they have seen, collected and sent."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Text, case, cast, func, null, select, update

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import NOTIFICATIONS
from headwater.domain.notification import Group, Notification
from headwater.domain.task import Reason, TaskState

_table = tables.notifications
_notifications = _table.c


def behind(tx: Transaction) -> list[str]:
    """Return the enabled notifications that have not seen all events."""
    newest = select(func.coalesce(func.max(tables.events.c.id), 0)).scalar_subquery()
    wanted = select(_notifications.fid).where(_notifications.enabled, _notifications.place < newest)
    return list(tx.execute(wanted).scalars())


def lock(tx: Transaction, fid: str) -> Notification | None:
    """Return an enabled notification, locked; None if another process holds it."""
    wanted = NOTIFICATIONS.rows.where(_notifications.fid == fid, _notifications.enabled)
    return tx.value(wanted.with_for_update(skip_locked=True), Notification)


def collect(tx: Transaction, notification: Notification, group: Group | None, *, place: int, until: datetime) -> None:
    """Store the news that a locked notification has collected up to an event; a new group is sent at ``until``."""
    values: dict[str, Any] = {"place": place}
    if group is not None and group != notification.grouped:
        values["grouped"] = msgspec.to_builtins(group)
        if notification.grouped is None:
            values["group_due_at"] = until
    tx.execute(update(_table).where(_notifications.fid == notification.fid).values(values))


def claim(tx: Transaction, *, at: datetime, lease: timedelta, limit: int) -> list[Notification]:
    """Lease and return the notifications whose message is due; what is collected from now on is the next message."""
    is_free = _notifications.leased_until.is_(None) | (_notifications.leased_until <= at)
    is_due = (_notifications.outgoing_due_at <= at) | (
        _notifications.outgoing_due_at.is_(None) & (_notifications.group_due_at <= at)
    )
    wanted = NOTIFICATIONS.rows.where(_notifications.enabled, is_free, is_due).limit(limit)
    claimed: list[Notification] = []
    for found in tx.values(wanted.with_for_update(skip_locked=True), Notification):
        values: dict[str, Any] = {"leased_until": at + lease, "outgoing_tries": found.outgoing_tries + 1}
        if found.outgoing is None:
            values |= {"outgoing": msgspec.to_builtins(found.grouped), "outgoing_due_at": at, "outgoing_tries": 1}
            values |= {"grouped": null(), "group_due_at": None}
        tx.execute(update(_table).where(_notifications.fid == found.fid).values(values))
        claimed += tx.values(NOTIFICATIONS.rows.where(_notifications.fid == found.fid), Notification)
    return claimed


def next_due(tx: Transaction) -> datetime | None:
    """Return when the next message of an enabled notification is due; None if none is collected."""
    due_at = func.coalesce(_notifications.outgoing_due_at, _notifications.group_due_at)
    leased_until = _notifications.leased_until
    free_at = case((leased_until > due_at, leased_until), else_=due_at)
    wanted = select(func.min(free_at, type_=_notifications.group_due_at.type)).where(_notifications.enabled)
    return tx.execute(wanted).scalar_one()


def sent(tx: Transaction, claimed: Notification, *, at: datetime) -> None:
    """Record that a claimed message was sent."""
    values = {**_SETTLED, "last_sent_at": at, "last_error": None}
    tx.execute(update(_table).where(_is_claim(claimed)).values(values))


def put_off(tx: Transaction, claimed: Notification, error: str, *, until: datetime) -> None:
    """Schedule the next attempt of a claimed message."""
    values = {"outgoing_due_at": until, "leased_until": None, "last_error": error}
    tx.execute(update(_table).where(_is_claim(claimed)).values(values))


def give_up(tx: Transaction, claimed: Notification, error: str) -> None:
    """Drop a claimed message that could not be sent."""
    tx.execute(update(_table).where(_is_claim(claimed)).values({**_SETTLED, "last_error": error}))


_SETTLED: dict[str, Any] = {"outgoing": null(), "outgoing_due_at": None, "outgoing_tries": 0, "leased_until": None}


def docs_of_good_runs(tx: Transaction, crawler: str, *, but: str, limit: int) -> list[int]:
    """Return the numbers of documents of a crawler's last good runs of the mode and scope of one, except that one."""
    tasks, own = tables.tasks.c, tables.tasks.alias().c
    is_good = (tasks.state == TaskState.DONE) & (tasks.reason != Reason.GATE_FAILED) & tasks.removed_at.is_(None)
    # Scopes are compared as texts: PostgreSQL has no equality of JSON.
    like = (tasks.mode == own.mode) & (_text(tasks.scope) == _text(own.scope))
    is_like = select(own.fid).where(own.fid == but, like).exists()
    wanted = select(tasks.docs).where(tasks.crawler == crawler, is_good, tasks.fid != but, is_like)
    return list(tx.execute(wanted.order_by(tasks.fid.desc()).limit(limit)).scalars())


def _text(value: ColumnElement[Any]) -> ColumnElement[str]:
    return func.coalesce(cast(value, Text), "")


def _is_claim(claimed: Notification) -> ColumnElement[bool]:
    return (_notifications.fid == claimed.fid) & (_notifications.outgoing_tries == claimed.outgoing_tries)
