"""What is sent to webhooks, and what came of it."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import Exists, Update, delete, insert, select, text, update

from headwater.catalog import leases, tables
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import NotFound
from headwater.domain.fid import is_fid
from headwater.domain.webhook import Delivery, DeliveryAttempt, DeliveryState

_table = tables.deliveries
_deliveries = _table.c
_attempts = tables.delivery_attempts
_IS_PENDING = text(tables.PENDING)

#: Announced when something is to be sent.
WAITING = "deliveries"


def add(tx: Transaction, new: Sequence[Delivery]) -> None:
    """Store deliveries; they are sent once this is committed."""
    if new:
        tx.execute(insert(_table), [asdict(delivery) for delivery in new])
        tx.announce(WAITING)


def get(tx: Transaction, fid: str, *, lock: bool = False) -> Delivery:
    """Return a delivery; ``lock`` keeps others from changing it until the transaction ends.

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
    """Return deliveries to a webhook, newest first: those before one, if it is given."""
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
    """Return the enabled webhooks to which something is to be sent now."""
    enabled = select(tables.webhooks.c.fid).where(tables.webhooks.c.enabled)
    wanted = select(_deliveries.webhook).distinct().where(_deliveries.webhook.in_(enabled))
    return list(tx.execute(wanted.where(_IS_PENDING, leases.is_free(_table, at), ~_is_behind())).scalars())


def claim(tx: Transaction, webhook: str, *, at: datetime, lease: timedelta, limit: int) -> list[Delivery]:
    """Return deliveries to a webhook that are due, longest due first, leased to us.

    Of a lane only the first that is not settled is given out.
    """
    mine = (_IS_PENDING, _deliveries.webhook == webhook, ~_is_behind())
    return leases.claim(tx, _table, Delivery, *mine, at=at, lease=lease, limit=limit)


def _is_behind() -> Exists:
    """Whether an earlier delivery of the same lane is not settled."""
    earlier = _table.alias()
    same = (earlier.c.webhook == _deliveries.webhook) & (earlier.c.lane == _deliveries.lane)
    # Pending is the earlier one: unqualified, a name means the innermost table.
    return select(earlier.c.fid).where(_IS_PENDING, same, earlier.c.event < _deliveries.event).exists()


def note(tx: Transaction, attempt: DeliveryAttempt) -> None:
    """Keep what came of a try."""
    tx.execute(insert(_attempts).values(asdict(attempt)))


def succeed(tx: Transaction, claimed: Delivery, *, at: datetime) -> None:
    """Note that a delivery has arrived, by this claim or, where it took too long, beside another."""
    _settle(tx, _pending(claimed), DeliveryState.DELIVERED, at=at)


def fail(tx: Transaction, claimed: Delivery, *, at: datetime) -> None:
    """Give up a delivery that was claimed, unless another claim has followed."""
    _settle(tx, _claim_of(claimed), DeliveryState.FAILED, at=at)


def _settle(tx: Transaction, of_it: Update, state: DeliveryState, *, at: datetime) -> None:
    tx.execute(of_it.values(state=state, settled_at=at, leased_until=None))
    tx.announce(WAITING)  # what came behind it may go now


def put_off(tx: Transaction, claimed: Delivery, *, until: datetime) -> None:
    """Let a delivery that was claimed, in vain, be tried again, unless another claim has followed."""
    failures = claimed.failures + 1
    tx.execute(_claim_of(claimed).values(due_at=until, leased_until=None, failures=failures))


def again(tx: Transaction, delivery: Delivery, *, at: datetime) -> None:
    """Have a delivery, locked for us, sent once more, in a lane of its own: nothing waits for it, nor it for others."""
    values = {"state": DeliveryState.PENDING, "due_at": at, "failures": 0, "settled_at": None, "lane": delivery.fid}
    tx.execute(update(_table).where(_deliveries.fid == delivery.fid).values(values))
    tx.announce(WAITING)


def forget(tx: Transaction, *, before: datetime, limit: int) -> int:
    """Forget deliveries that were settled before a moment, and those made before it of webhooks that are disabled."""
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
