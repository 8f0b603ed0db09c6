"""Loop that delivers events to webhooks. Any number of processes may run it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from headwater.catalog import deliveries, event_order, events, objects, webhooks
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import WEBHOOKS
from headwater.catalog.vault import Vault
from headwater.domain.loop_health import turn_failed, turn_succeeded
from headwater.domain.schedule import Rng
from headwater.domain.webhook import PAUSES, Delivery, DeliveryAttempt, headers_of
from headwater.lifecycle.in_flight import InFlight
from headwater.lifecycle.turn_timer import TurnTimer
from headwater.lifecycle.webhooks import actions
from headwater.lifecycle.webhooks.client import Outcome, WebhookClient

log = structlog.get_logger(__name__)

#: Deliveries that this process sends concurrently.
MOST_AT_ONCE = 64
#: Of these, to one webhook, so that a slow one delays no other.
MOST_TO_ONE = 4
#: Seconds by which a lease outlasts any delivery; after a crash, claimed deliveries become due again.
MARGIN = 5.0
#: Seconds of the pause after each turn.
BREATH = 0.05
#: How long settled deliveries are kept.
KEPT = timedelta(days=30)
#: Interval of deleting old deliveries, and the batch size.
FORGET_EVERY = timedelta(hours=1)
MANY = 1000


class WebhookDispatcher:
    """Sends the deliveries in the catalog."""

    def __init__(
        self,
        db: Database,
        webhook_client: WebhookClient,
        *,
        vault: Vault,
        clock: Callable[[], datetime],
        rng: Rng,
        backoff: Sequence[float] = PAUSES,
        believed: Callable[[], Awaitable[datetime]] | None = None,
    ) -> None:
        """Read the time from ``clock``; ``rng`` draws the jitter of the backoff.

        Old deliveries are deleted by the time ``believed``, since ``clock`` may jump.
        """
        self._believed = believed
        self._db = db
        self._webhook_client = webhook_client
        self._vault = vault
        self._clock = clock
        self._rng = rng
        self._backoff = backoff
        self._timer = TurnTimer()
        self._in_flight = InFlight(fault="webhook.delivery_not_settled", ended=self._timer.wake)
        self._busy: Counter[str] = Counter()
        self._forget_at: datetime | None = None

    @property
    def lease(self) -> timedelta:
        """How long a claim lasts."""
        return timedelta(seconds=self._webhook_client.answer_within + MARGIN)

    async def run(self) -> None:
        """Run until cancelled."""
        self._timer.wake_on(self._db, urgent=(events.APPENDED, deliveries.WAITING))
        try:
            while True:
                self._timer.begin_turn()
                try:
                    await self.turn(at=self._clock())
                except Exception as error:
                    # The database may be down for a while; nothing is lost, and the loop must survive it.
                    turn_failed(error)
                    log.exception("webhooks.turn_failed")
                else:
                    turn_succeeded()
                # Under load, notifications arrive all the time; one fan-out for many events costs as much as for one.
                await asyncio.sleep(BREATH)
                await self._timer.wait(partial(self._db.read, deliveries.next_due), clock=self._clock)
        finally:
            await self._in_flight.cancel()

    async def turn(self, *, at: datetime) -> None:
        """Create the deliveries of new events, and start sending those that are due."""
        await event_order.catch_up(self._db)
        # Read first, since writes are expensive and mostly there is nothing to do.
        has_news, due = await self._db.read(_look, at=at)
        if has_news:
            await self._db.write(actions.fan_out, at=at)
            _, due = await self._db.read(_look, at=at)
        # Webhooks with the fewest deliveries in flight first.
        for webhook in sorted(due, key=lambda fid: self._busy[fid]):
            free = min(MOST_TO_ONE - self._busy[webhook], MOST_AT_ONCE - len(self._in_flight))
            if free > 0:
                for claimed in await self._db.write(deliveries.claim, webhook, at=at, lease=self.lease, limit=free):
                    self._busy[webhook] += 1
                    self._in_flight.start(self._deliver(claimed))
        if self._forget_at is None or self._forget_at <= at:
            self._forget_at = at + FORGET_EVERY
            before = (at if self._believed is None else await self._believed()) - KEPT
            while await self._db.write(deliveries.forget, before=before, limit=MANY) >= MANY:
                pass

    async def idle(self) -> None:
        """Wait until no delivery is in flight."""
        await self._in_flight.idle()

    async def test(self, webhook: str) -> Delivery:
        """Send a test to a webhook, and return its delivery.

        Raises:
            NotFound: there is no such webhook.
        """
        claimed = await self._db.write(actions.begin_test, webhook, at=self._clock(), lease=self.lease)
        await self._send(claimed)
        return await self._db.read(deliveries.get, claimed.fid)

    async def _deliver(self, claimed: Delivery) -> None:
        try:
            await self._send(claimed)
        finally:
            self._busy[claimed.webhook] -= 1

    async def _send(self, claimed: Delivery) -> None:
        webhook = await self._db.read(objects.find, WEBHOOKS, claimed.webhook)
        if webhook is None:
            return  # deleted since, together with its deliveries
        at = self._clock()
        try:
            signed = headers_of(claimed, actions.secrets_of(webhook, vault=self._vault, at=at), at=at)
            outcome = await self._webhook_client.send(webhook.url, signed, claimed.body, at=at)
        except Exception:
            # A bug of ours, which may happen at each attempt: it counts as a failed attempt.
            log.exception("webhook.send_failed", webhook=webhook.fid, delivery=claimed.fid)
            outcome = Outcome(duration_ms=0, error="Headwater failed to send it; its log says why")
        attempt = DeliveryAttempt(
            delivery=claimed.fid,
            number=claimed.tries + 1,
            at=at,
            duration_ms=outcome.duration_ms,
            status=outcome.status,
            answer=outcome.answer,
            error=outcome.error,
        )
        log.info(
            "webhook.sent" if attempt.is_success else "webhook.not_sent",
            webhook=webhook.fid,
            delivery=claimed.fid,
            type=claimed.type,
            attempt=attempt.number,
            status=attempt.status,
            why=attempt.error,
        )
        await self._db.write(
            actions.settle,
            claimed,
            attempt,
            asked=outcome.asked,
            at=self._clock(),
            backoff=self._backoff,
            rng=self._rng,
        )


def _look(tx: Transaction, *, at: datetime) -> tuple[bool, list[str]]:
    """Return whether there are events without deliveries, and the webhooks that have due deliveries."""
    enabled = webhooks.enabled(tx)
    return bool(webhooks.to_fan_out(tx, enabled, limit=1)), deliveries.due(tx, at=at) if enabled else []
