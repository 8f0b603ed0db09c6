"""The loop that tells webhooks of events. Any number of processes may run it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from headwater.catalog import deliveries, events, objects, webhooks
from headwater.catalog.database import Database
from headwater.catalog.objects import WEBHOOKS
from headwater.catalog.transaction import Transaction
from headwater.catalog.vault import Vault
from headwater.domain.schedule import Dice
from headwater.domain.webhook import PAUSES, Delivery, DeliveryAttempt, headers_of
from headwater.lifecycle import webhooks as actions
from headwater.lifecycle.errands import Errands
from headwater.lifecycle.mailing import Mailer, Outcome

log = structlog.get_logger(__name__)

#: Deliveries that this process sends at once.
MOST_AT_ONCE = 64
#: Of these, to one webhook, so that one that hangs holds up nobody else.
MOST_TO_ONE = 4
#: Seconds by which a claim lasts longer than a delivery may take; a dead process's claims come back after that.
MARGIN = 5.0
#: Seconds between two looks, unless somebody wakes us; and then.
REST = 1.0
BREATH = 0.05
#: So long a delivery is kept that is settled.
KEPT = timedelta(days=30)
#: Time between two looks for deliveries that are to be forgotten, and how many are at a time.
FORGET_EVERY = timedelta(hours=1)
MANY = 1000


class Postman:
    """Sends what the catalog says is to be sent."""

    def __init__(
        self,
        db: Database,
        mailer: Mailer,
        *,
        vault: Vault,
        clock: Callable[[], datetime],
        dice: Dice,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        """Ask ``clock`` what the time is, and ``dice`` how much longer than planned a pause becomes."""
        self._db = db
        self._mailer = mailer
        self._vault = vault
        self._clock = clock
        self._dice = dice
        self._pauses = pauses
        self._errands = Errands(fault="webhook.delivery_not_settled")
        self._busy: Counter[str] = Counter()
        self._forget_at: datetime | None = None

    @property
    def lease(self) -> timedelta:
        """How long a claim lasts."""
        return timedelta(seconds=self._mailer.answer_within + MARGIN)

    async def run(self) -> None:
        """Work until cancelled."""
        self._errands.wake_on(self._db, events.TOLD, deliveries.WAITING)
        try:
            while True:
                self._errands.begin_turn()
                try:
                    await self.turn(at=self._clock())
                except Exception:
                    # The database may be away for a while; nothing is lost, and the loop must outlive it.
                    log.exception("postman.turn_failed")
                # Under many uploads there is news at every moment, and telling them together costs as much as one.
                await asyncio.sleep(BREATH)
                await self._errands.rest(REST)
        finally:
            await self._errands.cancel()

    async def turn(self, *, at: datetime) -> None:
        """Write the deliveries of what has happened, and begin to send what is due."""
        # Looked at before, since to write costs more than to read, and mostly there is nothing.
        has_news, due = await self._db.read(_look, at=at)
        if has_news:
            await self._db.write(actions.fan_out, at=at)
            _, due = await self._db.read(_look, at=at)
        # Those first to which the least is under way.
        for webhook in sorted(due, key=lambda fid: self._busy[fid]):
            free = min(MOST_TO_ONE - self._busy[webhook], MOST_AT_ONCE - len(self._errands))
            if free > 0:
                for claimed in await self._db.write(deliveries.claim, webhook, at=at, lease=self.lease, limit=free):
                    self._busy[webhook] += 1
                    self._errands.begin(self._deliver(claimed))
        if self._forget_at is None or self._forget_at <= at:
            self._forget_at = at + FORGET_EVERY
            while await self._db.write(deliveries.forget, before=at - KEPT, limit=MANY) >= MANY:
                pass

    async def idle(self) -> None:
        """Wait until nothing is being sent."""
        await self._errands.idle()

    async def test(self, webhook: str) -> Delivery:
        """Send a test to a webhook, and return what came of it.

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
            return  # deleted meanwhile, with its deliveries
        at = self._clock()
        try:
            signed = headers_of(claimed, actions.secrets_of(webhook, vault=self._vault, at=at), at=at)
            outcome = await self._mailer.send(webhook.url, signed, claimed.body, at=at)
        except Exception:
            # Our own fault, and it may come again at each try: it has its tries like any other.
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
            pauses=self._pauses,
            dice=self._dice,
        )


def _look(tx: Transaction, *, at: datetime) -> tuple[bool, list[str]]:
    """Return whether there are events of which no deliveries are written, and the webhooks to which some are due."""
    enabled = webhooks.enabled(tx)
    return bool(webhooks.untold(tx, enabled, limit=1)), deliveries.due(tx, at=at) if enabled else []
