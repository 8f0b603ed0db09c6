"""Loop that delivers notices to ECs and times out silent tasks. Any number of processes may run it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from headwater.catalog import credentials, events, notices, objects, tasks
from headwater.catalog.believed_time import believed_time
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.notices import Notice, NoticeKind
from headwater.catalog.objects import CRAWLERS, TASKS
from headwater.catalog.vault import Vault
from headwater.domain.clock_jump import ClockWatch
from headwater.domain.errors import HeadwaterError
from headwater.domain.loop_health import turn_failed, turn_succeeded
from headwater.domain.task import CODE_FAILED, TaskState
from headwater.lifecycle import retries, task_end, task_secrets
from headwater.lifecycle import tasks as task_actions
from headwater.lifecycle.ec.client import ANSWER_WITHIN, Accepted, Again, EcClient, Refused, Target
from headwater.lifecycle.in_flight import InFlight
from headwater.lifecycle.turn_timer import REST, TurnTimer

log = structlog.get_logger(__name__)

#: Backoff of a notice in seconds: 5 attempts over about a minute.
PAUSES = (2.0, 6.0, 16.0, 36.0)
#: A lease outlasts any delivery; after a crash, the notices that a process had claimed become due again.
LEASE = timedelta(seconds=2 * ANSWER_WITHIN)
#: Notices that this process delivers concurrently, so that a slow EC delays no other.
MOST_AT_ONCE = 32
#: Attempts to have an EC delete a token, over more than a week; after that the server gives up.
MOST_CLEARS = 200
#: Maximum seconds between these attempts.
LONGEST_CLEARING_PAUSE = 3600.0
#: Silent tasks that are ended per transaction.
MOST_SILENT = 100
#: After a restart, overdue tasks get this long to send a sign of life before they time out.
GRACE = timedelta(seconds=60)
#: After this long without a server, or a clock jump of this size, every task gets its whole timeout again.
LONG_AWAY = timedelta(hours=1)


class Dispatcher:
    """Delivers the notices in the catalog, and times out silent tasks."""

    def __init__(
        self,
        db: Database,
        ec_client: EcClient,
        *,
        vault: Vault,
        public_url: str,
        clock: Callable[[], datetime],
        backoff: Sequence[float] = PAUSES,
        retry_backoff: Sequence[float] = retries.PAUSES,
        steady: Callable[[], float] | None = None,
    ) -> None:
        """Have ECs upload to ``public_url``; ``steady`` is a monotonic clock that exposes jumps of ``clock``."""
        self._steady = steady
        self._retry_backoff = retry_backoff
        self._db = db
        self._ec_client = ec_client
        self._vault = vault
        self._public_url = public_url
        self._clock = clock
        self._backoff = backoff
        self._timer = TurnTimer()
        self._in_flight = InFlight(fault="notice.not_settled", ended=self._timer.wake)

    async def run(self) -> None:
        """Run until cancelled."""
        # A task's deadline is set by a change of the task, which is an event.
        self._timer.wake_on(self._db, urgent=(notices.WAITING,), changes=(events.APPENDED,))
        watch = None if self._steady is None else ClockWatch(steady=self._steady)
        listening = False
        has_jumped = False
        is_begun = watch is None
        try:
            while True:
                self._timer.begin_turn()
                try:
                    # Read once: a later jump is detected by the next turn.
                    at = self._clock()
                    if not is_begun:
                        has_jumped = await self._was_away_for_long(at)
                        is_begun = True
                    if watch is not None and (jump := watch.jump(at)):
                        log.warning("clock.jumped", seconds=jump.total_seconds())
                        has_jumped = True
                    if has_jumped:
                        await self._db.write(tasks.renew_deadlines, at=at)
                        has_jumped = False
                    if not listening:
                        await self._db.write(tasks.pardon, at=at, grace=GRACE)
                        listening = True
                    await self.turn(at=at)
                except Exception as error:
                    # The database may be down for a while; nothing is lost, and the loop must survive it.
                    # No task could report meanwhile, so they get the same grace period as after a restart.
                    listening = False
                    turn_failed(error)
                    log.exception("dispatcher.turn_failed")
                else:
                    turn_succeeded()
                await self._timer.wait(partial(self._db.read, _next_due), clock=self._clock)
        finally:
            await self._in_flight.cancel()

    async def _was_away_for_long(self, at: datetime) -> bool:
        """Return whether the last known server time is long ago or in the future; if so, the clock may be wrong."""
        believed = await self._db.read(believed_time)
        return believed is not None and abs(at - believed) > LONG_AWAY

    async def turn(self, *, at: datetime) -> None:
        """Time out silent tasks, and start delivering due notices."""
        # Read first, since writes are expensive and mostly there is nothing to do.
        due = await self._db.read(_next_due)
        if due is None or due > at:
            return
        end = partial(task_end.time_out, vault=self._vault, at=at, limit=MOST_SILENT, backoff=self._retry_backoff)
        while await self._db.write(end) == MOST_SILENT:
            pass
        free = MOST_AT_ONCE - len(self._in_flight)
        if free <= 0:
            return
        for notice in await self._db.write(notices.claim, at=at, lease=LEASE, limit=free):
            self._in_flight.start(self._deliver(notice))

    async def idle(self) -> None:
        """Wait until no delivery is in flight."""
        await self._in_flight.idle()

    async def _deliver(self, notice: Notice) -> None:
        try:
            target = self._vault.unseal(notice.sealed_target)
            match notice.kind:
                case NoticeKind.START:
                    await self._start(notice, Target(**target))
                case NoticeKind.END:
                    await self._end(notice, Target(**target))
                case NoticeKind.CLEAR:
                    await self._clear(notice, target)
        except HeadwaterError:
            raise  # the catalog is down: the lease expires, and the notice becomes due again
        except Exception:
            # A bug of ours, which may happen at each attempt: it counts as a failed attempt.
            log.exception("notice.failed", task=notice.task, attempt=notice.attempt, kind=notice.kind)
            fault = Again(why="Headwater failed to start the crawler; its log says why")
            if notice.tries + 1 <= len(self._backoff):
                await self._db.write(notices.put_off, notice, until=self._clock() + self._pause(notice, fault))
            else:
                await self._give_up(notice, fault, at=self._clock())

    async def _start(self, notice: Notice, target: Target) -> None:
        found = await self._db.read(self._start_body, notice, at=self._clock())
        if found is None:  # it ended before it started, or its credential has expired
            await self._db.write(_skip_start, notice, at=self._clock())
            return
        body, secrets = found
        outcome = await self._ec_client.start(target, body, secrets=secrets)
        at = self._clock()
        match outcome:
            case Accepted():
                log.info("task.started", task=notice.task, attempt=notice.attempt, code=outcome.code)
                await self._db.write(
                    task_actions.started,
                    notice,
                    callback=outcome.callback,
                    code=outcome.code,
                    message=outcome.message,
                    detail=outcome.detail,
                    at=at,
                    backoff=self._retry_backoff,
                )
            case Again() if notice.tries + 1 <= len(self._backoff):
                log.warning("task.start_put_off", task=notice.task, attempt=notice.attempt, why=outcome.why)
                await self._db.write(_put_off_start, notice, outcome, at=at, until=at + self._pause(notice, outcome))
            case Again() | Refused():
                log.warning("task.start_failed", task=notice.task, attempt=notice.attempt, why=outcome.why)
                await self._give_up(notice, outcome, at=at)

    async def _give_up(self, notice: Notice, outcome: Again | Refused, *, at: datetime) -> None:
        await self._db.write(give_up_start, notice, outcome, at=at, backoff=self._retry_backoff)

    async def _end(self, notice: Notice, target: Target) -> None:
        callback = await self._db.read(_callback, notice)
        if callback is not None:
            target = replace(target, callback=callback)
        body = {"code": notice.code, "message": notice.message, "detail": None}
        outcome = await self._ec_client.end(target, notice.task, body)
        if isinstance(outcome, Again) and notice.tries + 1 <= len(self._backoff):
            await self._db.write(notices.put_off, notice, until=self._clock() + self._pause(notice, outcome))
            return
        if outcome is None:
            log.info("task.end_told", task=notice.task, attempt=notice.attempt, code=notice.code)
        else:
            log.warning("task.end_not_told", task=notice.task, attempt=notice.attempt, why=outcome.why)
        await self._db.write(notices.done, notice)

    async def _clear(self, notice: Notice, target: dict[str, Any]) -> None:
        outcome = await self._ec_client.clear(target["url"], target["headers"])
        if isinstance(outcome, Again) and notice.tries < MOST_CLEARS:
            pause = max(_clearing_pause(self._backoff, notice.tries), outcome.after)
            await self._db.write(notices.put_off, notice, until=self._clock() + timedelta(seconds=pause))
            return
        if outcome is None:
            log.info("credential.cleared", credential=notice.task)
        else:
            log.warning("credential.not_cleared", credential=notice.task, why=outcome.why)
        await self._db.write(notices.done, notice)

    def _pause(self, notice: Notice, outcome: Again) -> timedelta:
        return timedelta(seconds=max(self._backoff[notice.tries], outcome.after))

    def _start_body(self, tx: Transaction, notice: Notice, *, at: datetime) -> tuple[dict[str, Any], list[str]] | None:
        """Return the body of a start and the secrets in it; None if the task is not to be started."""
        task = task_actions.told_of(tx, notice)
        if task is None or not task.is_open:
            return None
        crawler = objects.get(tx, CRAWLERS, task.crawler)
        token = self._vault.task_token(task.fid, task.attempt)
        login = None if crawler.login is None else credentials.find(tx, crawler.login)
        if login is not None and login.is_expired(at=at):
            return None
        sealed = crawler.sealed_credential
        credential = None if sealed is None else self._vault.unseal(sealed)
        body = {
            "fid": task.fid,
            "params": self._vault.unseal_passwords(task.params),
            "credential": credential if login is None else self._vault.unseal(login.sealed)["given"],
            "endpoint": task_endpoint(self._public_url, task.fid, token),
            "token": token,
        }
        return body, task_secrets.secrets_of(tx, task, vault=self._vault)


def _next_due(tx: Transaction) -> datetime | None:
    """Return when the next notice is due, or the next task times out."""
    moments = (notices.next_due(tx), tasks.next_deadline(tx))
    return min((moment for moment in moments if moment is not None), default=None)


def task_endpoint(public_url: str, task: str, token: str) -> str:
    """Return the URL to which an EC appends ``/upload`` and ``/status``; it contains the token."""
    return f"{public_url.rstrip('/')}/actions/tasks/{task}.{token}"


def _clearing_pause(backoff: Sequence[float], tries: int) -> float:
    """Return the seconds before the next attempt to have an EC delete a token: growing, up to an hour."""
    if tries < len(backoff):
        return backoff[tries]
    return min(LONGEST_CLEARING_PAUSE, max(backoff, default=REST) * 2.0 ** min(tries - len(backoff) + 1, 20))


def _skip_start(tx: Transaction, notice: Notice, *, at: datetime) -> None:
    task = task_actions.told_of(tx, notice, lock=True)
    # The EC may be running although it did not respond: then it needs no start.
    if task is None or task.state is not TaskState.NEW or task_end.fail_expired(tx, task, at=at) is not None:
        notices.done(tx, notice)
    else:
        notices.put_off(tx, notice, until=at)  # the credential has just been renewed


def _put_off_start(tx: Transaction, notice: Notice, outcome: Again, *, at: datetime, until: datetime) -> None:
    task = task_actions.told_of(tx, notice, lock=True)
    if task is None or task.state is not TaskState.NEW:
        # It has ended, or its EC runs although it did not respond: another start would run it twice.
        notices.done(tx, notice)
    else:
        notices.put_off(tx, notice, until=until)
        # Tells users why the task is still new.
        waiting = replace(task, message=f"{outcome.why}; it is tried again", detail=outcome.detail)
        tasks.change(tx, task, waiting, at=at)


def give_up_start(
    tx: Transaction, notice: Notice, outcome: Again | Refused, *, at: datetime, backoff: Sequence[float]
) -> None:
    """Fail a task whose start could not be delivered, unless its EC has reported in the meantime."""
    # Locked: a concurrent upload proves that the EC runs.
    task = objects.find(tx, TASKS, notice.task, lock=True)
    if isinstance(outcome, Again) and task is not None and task.state is TaskState.RUNNING:
        notices.done(tx, notice)  # it has reported meanwhile: its timeout decides
        return
    failure = {"message": outcome.why, "detail": outcome.detail}
    task_actions.not_started(tx, notice, code=CODE_FAILED, at=at, backoff=backoff, **failure)


def _callback(tx: Transaction, notice: Notice) -> str | None:
    task = task_actions.told_of(tx, notice)
    return None if task is None else task.callback
