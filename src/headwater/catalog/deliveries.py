"""Deliveries to webhooks, their attempts and results."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import Exists, Update, delete, insert, select, text, update

from headwater.catalog import leases, tables
from headwater.catalog.core.transaction import Transaction
from headwater.domain.errors import NotFound
from headwater.domain.ids import is_fid
from headwater.domain.webhook import Delivery, DeliveryAttempt, DeliveryState

_table = tables.deliveries
_deliveries = _table.c
_attempts = tables.delivery_attempts
_IS_PENDING = text(tables.PENDING)

#: Published when a delivery is due.
WAITING = "deliveries"


def add(tx: Transaction, new: Sequence[Delivery]) -> None:
    """Store deliveries; they are sent after the commit."""
    if new:
        tx.execute(insert(_table), [asdict(delivery) for delivery in new])
        tx.publish(WAITING)


def get(tx: Transaction, fid: str, *, lock: bool = False) -> Delivery:
    """Return a delivery; ``lock`` prevents changes by others until the transaction ends.

    Raises:
        NotFound: there is none.
    """
    wanted = select(_table).where(_deliveries.fid == fid)
    found = tx.value(wanted.with_for_update() if lock else wanted, Delivery) if is_fid(fid) else None
    if found is None:
        raise NotFound(f"there is no webhook delivery {fid!r}; those of 30 days ago and older are forgotten")
    return found


def page(
    tx: Transaction, webhook: str, *, state: DeliveryState | None, before: str | None, limit: int
) -> list[Delivery]:
    """Return deliveries to a webhook, newest first, starting before ``before`` if it is given."""
    wanted = select(_table).where(_deliveries.webhook == webhook).order_by(_deliveries.fid.desc()).limit(limit)
    if state is not None:
        wanted = wanted.where(_deliveries.state == state)
    if before is not None:
        wanted = wanted.where(_deliveries.fid < before)
    return tx.values(wanted, Delivery)


def attempts_of(tx: Transaction, fids: Collection[str]) -> dict[str, list[DeliveryAttempt]]:
    """Return the attempts of deliveries, oldest first, by delivery."""
    wanted = select(_attempts).where(_attempts.c.delivery.in_(fids)).order_by(_attempts.c.number)
    found: dict[str, list[DeliveryAttempt]] = {fid: [] for fid in fids}
    for attempt in tx.values(wanted, DeliveryAttempt):
        found[attempt.delivery].append(attempt)
    return found


def due(tx: Transaction, *, at: datetime) -> list[str]:
    """Return the enabled webhooks that have due deliveries."""
    enabled = select(tables.webhooks.c.fid).where(tables.webhooks.c.enabled)
    wanted = select(_deliveries.webhook).distinct().where(_deliveries.webhook.in_(enabled))
    return list(tx.execute(wanted.where(_IS_PENDING, leases.is_free(_table, at), ~_is_behind())).scalars())


def next_due(tx: Transaction) -> datetime | None:
    """Return when the next delivery to an enabled webhook is due; None if there is none."""
    enabled = select(tables.webhooks.c.fid).where(tables.webhooks.c.enabled)
    return leases.next_due(tx, _table, _IS_PENDING, _deliveries.webhook.in_(enabled), ~_is_behind())


def claim(tx: Transaction, webhook: str, *, at: datetime, lease: timedelta, limit: int) -> list[Delivery]:
    """Lease and return due deliveries to a webhook, longest due first.

    Only the first unsettled delivery of a lane is returned.
    """
    mine = (_IS_PENDING, _deliveries.webhook == webhook, ~_is_behind())
    return leases.claim(tx, _table, Delivery, *mine, at=at, lease=lease, limit=limit)


def _is_behind() -> Exists:
    """Whether an earlier delivery of the same lane is unsettled."""
    earlier = _table.alias()
    same = (earlier.c.webhook == _deliveries.webhook) & (earlier.c.lane == _deliveries.lane)
    # ``_IS_PENDING`` applies to the earlier one: an unqualified name belongs to the innermost table.
    return select(earlier.c.fid).where(_IS_PENDING, same, earlier.c.event < _deliveries.event).exists()


def note(tx: Transaction, attempt: DeliveryAttempt) -> None:
    """Store the result of an attempt."""
    tx.execute(insert(_attempts).values(asdict(attempt)))


def succeed(tx: Transaction, claimed: Delivery, *, at: datetime) -> None:
    """Mark a delivery as delivered, by this claim or, if that took too long, beside another."""
    _settle(tx, _pending(claimed), DeliveryState.DELIVERED, at=at)


def fail(tx: Transaction, claimed: Delivery, *, at: datetime) -> None:
    """Mark a claimed delivery as failed, unless it was claimed again meanwhile."""
    _settle(tx, _claim_of(claimed), DeliveryState.FAILED, at=at)


def _settle(tx: Transaction, statement: Update, state: DeliveryState, *, at: datetime) -> None:
    tx.execute(statement.values(state=state, settled_at=at, leased_until=None))
    tx.publish(WAITING)  # the next delivery of the lane may be sent now


def put_off(tx: Transaction, claimed: Delivery, *, until: datetime) -> None:
    """Schedule the next attempt of a claimed delivery, unless it was claimed again meanwhile."""
    failures = claimed.failures + 1
    tx.execute(_claim_of(claimed).values(due_at=until, leased_until=None, failures=failures))


def again(tx: Transaction, delivery: Delivery, *, at: datetime) -> None:
    """Send a locked delivery once more, in a lane of its own: it neither waits for others nor blocks them."""
    values = {"state": DeliveryState.PENDING, "due_at": at, "failures": 0, "settled_at": None, "lane": delivery.fid}
    tx.execute(update(_table).where(_deliveries.fid == delivery.fid).values(values))
    tx.publish(WAITING)


def forget(tx: Transaction, *, before: datetime, limit: int) -> int:
    """Delete deliveries settled before a time, and those created before it for disabled webhooks."""
    disabled = select(tables.webhooks.c.fid).where(~tables.webhooks.c.enabled)
    settled = select(_deliveries.fid).where(_deliveries.settled_at < before)
    left = select(_deliveries.fid).where(
        _IS_PENDING, _deliveries.created_at < before, _deliveries.webhook.in_(disabled)
    )
    old = [fid for wanted in (settled, left) for fid in tx.execute(wanted.limit(limit)).scalars()]
    tx.execute(delete(_table).where(_deliveries.fid.in_(old)))
    return len(old)


def _pending(delivery: Delivery) -> Update:
    return update(_table).where(_deliveries.fid == delivery.fid, _IS_PENDING)


def _claim_of(claimed: Delivery) -> Update:
    return _pending(claimed).where(_deliveries.tries == claimed.tries + 1)
