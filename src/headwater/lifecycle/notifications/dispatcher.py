"""Loop that collects news for notifications, and sends them. Any number of processes may run it."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import structlog

from headwater.catalog import event_order, events, notifications, objects
from headwater.catalog.core.database import Database
from headwater.catalog.objects import NOTIFICATIONS
from headwater.catalog.vault import Vault
from headwater.domain.loop_health import turn_failed, turn_succeeded
from headwater.domain.notification import Notification, pause_after
from headwater.lifecycle.notifications import actions
from headwater.lifecycle.notifications.client import ANSWER_WITHIN, NotificationClient
from headwater.lifecycle.turn_timer import TurnTimer

log = structlog.get_logger(__name__)

#: Messages that are sent at once.
MOST_AT_ONCE = 8
#: Seconds by which a lease outlasts any attempt; after a crash, a claimed message becomes due again.
MARGIN = 5.0


class NotificationDispatcher:
    """Collects news and sends messages."""

    def __init__(
        self,
        db: Database,
        client: NotificationClient,
        *,
        vault: Vault,
        public_url: str,
        clock: Callable[[], datetime],
    ) -> None:
        """Read the time from ``clock``; messages link to the server at ``public_url``."""
        self._db = db
        #: Sends the messages.
        self.client = client
        self._vault = vault
        self._public_url = public_url
        self._clock = clock
        self._timer = TurnTimer()

    async def run(self) -> None:
        """Run until cancelled."""
        self._timer.wake_on(self._db, changes=(events.APPENDED,))
        while True:
            self._timer.begin_turn()
            try:
                await self.turn(at=self._clock())
            except Exception as error:
                # The database may be down for a while; nothing is lost, and the loop must survive it.
                turn_failed(error)
                log.exception("notifications.turn_failed")
            else:
                turn_succeeded()
            await self._timer.wait(partial(self._db.read, notifications.next_due), clock=self._clock)

    async def turn(self, *, at: datetime) -> None:
        """Collect the news since the last turn, and send the messages that are due."""
        await event_order.catch_up(self._db)
        # Read first, since writes are expensive and mostly there is nothing to do.
        for fid in await self._db.read(notifications.behind):
            while await self._db.write(actions.collect, fid, public_url=self._public_url, at=at) == actions.MANY:
                pass
        lease = timedelta(seconds=ANSWER_WITHIN + MARGIN)
        due = await self._db.read(notifications.next_due)
        if due is not None and due <= at:
            claimed = await self._db.write(notifications.claim, at=at, lease=lease, limit=MOST_AT_ONCE)
            await asyncio.gather(*(self._send(each) for each in claimed))

    async def test(self, fid: str) -> str | None:
        """Send a test message; return why it failed, or None.

        Raises:
            NotFound: there is no such notification.
        """
        notification = await self._db.read(objects.get, NOTIFICATIONS, fid)
        group = actions.test_group(self._public_url)
        return await self.client.send(self._vault.unseal(notification.sealed_url), "Headwater: a test", group.body)

    async def _send(self, claimed: Notification) -> None:
        group = claimed.outgoing
        if group is None:
            return
        try:
            url = self._vault.unseal(claimed.sealed_url)
            error = await self.client.send(url, group.title, group.body)
        except Exception:
            # A bug of ours, which may happen at each attempt: it counts as a failed attempt.
            log.exception("notification.send_failed", notification=claimed.fid)
            error = "Headwater failed to send it; its log says why"
        at = self._clock()
        if error is None:
            log.info("notification.sent", notification=claimed.fid, news=group.total)
            await self._db.write(notifications.sent, claimed, at=at)
            return
        log.warning("notification.not_sent", notification=claimed.fid, attempt=claimed.outgoing_tries, why=error)
        pause = pause_after(claimed.outgoing_tries)
        if pause is None:
            await self._db.write(notifications.give_up, claimed, error)
        else:
            await self._db.write(notifications.put_off, claimed, error, until=at + pause)
