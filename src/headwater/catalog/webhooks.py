"""Queries and changes of webhooks."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from headwater.catalog import events, tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import WEBHOOKS
from headwater.domain.errors import MovedMeanwhile
from headwater.domain.event import Event
from headwater.domain.webhook import Webhook

_webhooks = tables.webhooks.c
_place = tables.webhook_place


def enabled(tx: Transaction, *, lock: bool = False) -> list[Webhook]:
    """Return the enabled webhooks; ``lock`` prevents their deletion by others until the transaction ends."""
    wanted = WEBHOOKS.rows.where(_webhooks.enabled).order_by(_webhooks.fid)
    return tx.values(wanted.with_for_update(read=True, key_share=True) if lock else wanted, Webhook)


def to_fan_out(tx: Transaction, subscribers: Collection[Webhook], *, limit: int) -> list[Event]:
    """Return the next events, in order, for which these webhooks have no deliveries yet."""
    if not subscribers:
        return []
    # The position does not advance while there is no webhook.
    first = max(_present(tx), min(webhook.since for webhook in subscribers))
    return events.after(tx, first, limit=limit)


def take_place(tx: Transaction) -> int | None:
    """Lock and return the last event whose deliveries are written; None if another process holds it."""
    return tx.execute(select(_place.c.event).with_for_update(skip_locked=True)).scalar_one_or_none()


def move_place(tx: Transaction, old: int, new: int) -> None:
    """Advance the position to an event: the deliveries of all events up to it are written.

    Raises:
        MovedMeanwhile: another process has written some of them.
    """
    if tx.execute(update(_place).where(_place.c.event == old).values(event=new)).rowcount != 1:
        raise MovedMeanwhile("another process has fanned these events out")


def fails(tx: Transaction, webhook: Webhook, *, since: datetime) -> None:
    """Record since when all deliveries have failed, unless it is recorded already; this is not an edit."""
    matches = (_webhooks.fid == webhook.fid) & _webhooks.failing_since.is_(None)
    tx.execute(update(tables.webhooks).where(matches).values(failing_since=since))


def thrives(tx: Transaction, webhook: Webhook) -> None:
    """Record a success; this is not an edit."""
    matches = (_webhooks.fid == webhook.fid) & _webhooks.failing_since.is_not(None)
    tx.execute(update(tables.webhooks).where(matches).values(failing_since=None))


def _present(tx: Transaction) -> int:
    found: Any = tx.execute(select(_place.c.event)).scalar_one()
    return found
