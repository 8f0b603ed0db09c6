"""Questions and changes that only webhooks know."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from headwater.catalog import events, tables
from headwater.catalog.objects import WEBHOOKS
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import MovedMeanwhile
from headwater.domain.event import Event
from headwater.domain.webhook import Webhook

_webhooks = tables.webhooks.c
_place = tables.webhook_place


def enabled(tx: Transaction, *, lock: bool = False) -> list[Webhook]:
    """Return the webhooks that are enabled; ``lock`` keeps others from deleting them until the transaction ends."""
    wanted = WEBHOOKS.rows.where(_webhooks.enabled).order_by(_webhooks.fid)
    return tx.values(wanted.with_for_update(read=True, key_share=True) if lock else wanted, Webhook)


def untold(tx: Transaction, told: Collection[Webhook], *, limit: int) -> list[Event]:
    """Return the next events, in order, of which no deliveries are written yet to these webhooks."""
    if not told:
        return []
    # While there was no webhook, nobody has moved the place.
    first = max(_present(tx), min(webhook.since for webhook in told))
    return events.after(tx, first, limit=limit)


def take_place(tx: Transaction) -> int | None:
    """Return the last event of which the deliveries are written, kept for us; None if another process is at it."""
    return tx.execute(select(_place.c.event).with_for_update(skip_locked=True)).scalar_one_or_none()


def move_place(tx: Transaction, old: int, new: int) -> None:
    """Note that the deliveries of all events up to one are written.

    Raises:
        MovedMeanwhile: another process has written some of them.
    """
    if tx.execute(update(_place).where(_place.c.event == old).values(event=new)).rowcount != 1:
        raise MovedMeanwhile("another process has told webhooks of these events")


def fails(tx: Transaction, webhook: Webhook, *, since: datetime) -> None:
    """Note since when nothing but failures came, unless that was noted before; that is no edit."""
    of_it = (_webhooks.fid == webhook.fid) & _webhooks.failing_since.is_(None)
    tx.execute(update(tables.webhooks).where(of_it).values(failing_since=since))


def thrives(tx: Transaction, webhook: Webhook) -> None:
    """Note that a success came; that is no edit."""
    of_it = (_webhooks.fid == webhook.fid) & _webhooks.failing_since.is_not(None)
    tx.execute(update(tables.webhooks).where(of_it).values(failing_since=None))


def _present(tx: Transaction) -> int:
    found: Any = tx.execute(select(_place.c.event)).scalar_one()
    return found
