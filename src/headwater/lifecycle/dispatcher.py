"""The loop that delivers notices to ECs and ends tasks that fell silent. Any number of processes may run it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from headwater.catalog import credentials, notices, objects, tasks
from headwater.catalog.database import Database
from headwater.catalog.notices import Notice, NoticeKind
from headwater.catalog.objects import CRAWLERS, TASKS
from headwater.catalog.transaction import Transaction
from headwater.catalog.vault import Vault
from headwater.domain.errors import HeadwaterError
from headwater.domain.task import CODE_FAILED, TaskState
from headwater.lifecycle import actions, endings, retries
from headwater.lifecycle.errands import Errands
from headwater.lifecycle.outbound import ANSWER_WITHIN, Accepted, Again, Outbound, Refused, Target

log = structlog.get_logger(__name__)

#: Seconds between the tries of a notice: 5 tries over about a minute.
PAUSES = (2.0, 6.0, 16.0, 36.0)
#: A claim lasts longer than a delivery can take; a dead process's claims come back after that.
LEASE = timedelta(seconds=2 * ANSWER_WITHIN)
#: Notices that this process delivers at once, so that a slow EC holds up nobody.
MOST_AT_ONCE = 32
#: An EC is told to forget a token so often before it is left to itself: for a week and more.
MOST_CLEARS = 200
#: Seconds between those tries, at most.
LONGEST_CLEARING_PAUSE = 3600.0
#: Silent tasks that are ended in one transaction.
MOST_SILENT = 100
#: Seconds between two looks, unless somebody wakes us.
REST = 1.0
#: Tasks that fell silent while nobody listened have so long to speak once somebody does.
GRACE = timedelta(seconds=60)


class Dispatcher:
    """Delivers what the catalog says is to be delivered."""

    def __init__(
        self,
        db: Database,
        outbound: Outbound,
        *,
        vault: Vault,
        public_url: str,
        clock: Callable[[], datetime],
        pauses: Sequence[float] = PAUSES,
        retry_pauses: Sequence[float] = retries.PAUSES,
    ) -> None:
        """Tell ECs to upload to ``public_url``."""
        self._retry_pauses = retry_pauses
        self._db = db
        self._outbound = outbound
        self._vault = vault
        self._public_url = public_url
        self._clock = clock
        self._pauses = pauses
        self._errands = Errands(fault="notice.not_settled")

    async def run(self) -> None:
        """Work until cancelled."""
        self._errands.wake_on(self._db, notices.WAITING)
        listening = False
        try:
            while True:
                self._errands.begin_turn()
                try:
                    if not listening:
                        await self._db.write(tasks.pardon, at=self._clock(), grace=GRACE)
                        listening = True
                    await self.turn(at=self._clock())
                except Exception:
                    # The database may be away for a while; nothing is lost, and the loop must outlive it.
                    # Nobody could be heard meanwhile, so that those who seem silent are pardoned as after a restart.
                    log.exception("dispatcher.turn_failed")
                    listening = False
                await self._errands.rest(REST)
        finally:
            await self._errands.cancel()

    async def turn(self, *, at: datetime) -> None:
        """End what fell silent, and begin to deliver what is due."""
        end = partial(endings.time_out, vault=self._vault, at=at, limit=MOST_SILENT, pauses=self._retry_pauses)
        while await self._db.write(end) == MOST_SILENT:
            pass
        free = MOST_AT_ONCE - len(self._errands)
        if free <= 0:
            return
        for notice in await self._db.write(notices.claim, at=at, lease=LEASE, limit=free):
            self._errands.begin(self._deliver(notice))

    async def idle(self) -> None:
        """Wait until nothing is being delivered."""
        await self._errands.idle()

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
            raise  # the catalog is away: the lease runs out, and the notice comes back
        except Exception:
            # Our own fault, and it may come again at each try: it has its tries like any other.
            log.exception("notice.failed", task=notice.task, attempt=notice.attempt, kind=notice.kind)
            fault = Again(why="Headwater failed to start the crawler; its log says why")
            if notice.tries + 1 <= len(self._pauses):
                await self._db.write(notices.put_off, notice, until=self._clock() + self._pause(notice, fault))
            else:
                await self._give_up(notice, fault, at=self._clock())

    async def _start(self, notice: Notice, target: Target) -> None:
        body = await self._db.read(self._start_body, notice, at=self._clock())
        if body is None:  # it ended before it began, or has nothing to log in with
            await self._db.write(_leave_start, notice, at=self._clock())
            return
        outcome = await self._outbound.start(target, body)
        at = self._clock()
        match outcome:
            case Accepted():
                log.info("task.started", task=notice.task, attempt=notice.attempt, code=outcome.code)
                await self._db.write(
                    actions.started,
                    notice,
                    callback=outcome.callback,
                    code=outcome.code,
                    message=outcome.message,
                    detail=outcome.detail,
                    at=at,
                    pauses=self._retry_pauses,
                )
            case Again() if notice.tries + 1 <= len(self._pauses):
                log.warning("task.start_put_off", task=notice.task, attempt=notice.attempt, why=outcome.why)
                await self._db.write(_put_off_start, notice, outcome, at=at, until=at + self._pause(notice, outcome))
            case Again() | Refused():
                log.warning("task.start_failed", task=notice.task, attempt=notice.attempt, why=outcome.why)
                await self._give_up(notice, outcome, at=at)

    async def _give_up(self, notice: Notice, outcome: Again | Refused, *, at: datetime) -> None:
        await self._db.write(_give_up_start, notice, outcome, at=at, pauses=self._retry_pauses)

    async def _end(self, notice: Notice, target: Target) -> None:
        callback = await self._db.read(_callback, notice)
        if callback is not None:
            target = replace(target, callback=callback)
        body = {"code": notice.code, "message": notice.message, "detail": None}
        outcome = await self._outbound.end(target, notice.task, body)
        if isinstance(outcome, Again) and notice.tries + 1 <= len(self._pauses):
            await self._db.write(notices.put_off, notice, until=self._clock() + self._pause(notice, outcome))
            return
        if outcome is None:
            log.info("task.end_told", task=notice.task, attempt=notice.attempt, code=notice.code)
        else:
            log.warning("task.end_not_told", task=notice.task, attempt=notice.attempt, why=outcome.why)
        await self._db.write(notices.done, notice)

    async def _clear(self, notice: Notice, target: dict[str, Any]) -> None:
        outcome = await self._outbound.clear(target["url"], target["headers"])
        if isinstance(outcome, Again) and notice.tries < MOST_CLEARS:
            pause = max(_clearing_pause(self._pauses, notice.tries), outcome.after)
            await self._db.write(notices.put_off, notice, until=self._clock() + timedelta(seconds=pause))
            return
        if outcome is None:
            log.info("credential.cleared", credential=notice.task)
        else:
            log.warning("credential.not_cleared", credential=notice.task, why=outcome.why)
        await self._db.write(notices.done, notice)

    def _pause(self, notice: Notice, outcome: Again) -> timedelta:
        return timedelta(seconds=max(self._pauses[notice.tries], outcome.after))

    def _start_body(self, tx: Transaction, notice: Notice, *, at: datetime) -> dict[str, Any] | None:
        task = actions.told_of(tx, notice)
        if task is None or not task.is_open:
            return None
        crawler = objects.get(tx, CRAWLERS, task.crawler)
        token = self._vault.task_token(task.fid, task.attempt)
        login = None if crawler.login is None else credentials.find(tx, crawler.login)
        if login is not None and login.is_expired(at=at):
            return None
        sealed = crawler.sealed_credential
        credential = None if sealed is None else self._vault.unseal(sealed)
        return {
            "fid": task.fid,
            "params": self._vault.unseal_passwords(task.params),
            "credential": credential if login is None else self._vault.unseal(login.sealed)["given"],
            "endpoint": task_endpoint(self._public_url, task.fid, token),
            "token": token,
        }


def task_endpoint(public_url: str, task: str, token: str) -> str:
    """Return the URL to which an EC appends ``/upload`` and ``/status``; it holds the token."""
    return f"{public_url.rstrip('/')}/actions/tasks/{task}.{token}"


def _clearing_pause(pauses: Sequence[float], tries: int) -> float:
    """Return the seconds until an EC is told once more to forget a token: growing, up to an hour."""
    if tries < len(pauses):
        return pauses[tries]
    return min(LONGEST_CLEARING_PAUSE, max(pauses, default=REST) * 2.0 ** min(tries - len(pauses) + 1, 20))


def _leave_start(tx: Transaction, notice: Notice, *, at: datetime) -> None:
    task = actions.told_of(tx, notice, lock=True)
    # Its EC may be at work though it did not answer: then it has what it needs.
    if task is None or task.state is not TaskState.NEW or endings.fail_expired(tx, task, at=at) is not None:
        notices.done(tx, notice)
    else:
        notices.put_off(tx, notice, until=at)  # the credential has just been renewed


def _put_off_start(tx: Transaction, notice: Notice, outcome: Again, *, at: datetime, until: datetime) -> None:
    task = actions.told_of(tx, notice, lock=True)
    if task is None or task.state is not TaskState.NEW:
        # It has ended, or its EC is at work though it did not answer: another start would double it.
        notices.done(tx, notice)
    else:
        notices.put_off(tx, notice, until=until)
        # Whoever wonders why the task is still new can read it there.
        waiting = replace(task, message=f"{outcome.why}; it is tried again", detail=outcome.detail)
        tasks.change(tx, task, waiting, at=at)


def _give_up_start(
    tx: Transaction, notice: Notice, outcome: Again | Refused, *, at: datetime, pauses: Sequence[float]
) -> None:
    task = objects.find(tx, TASKS, notice.task)
    if isinstance(outcome, Again) and task is not None and task.state is TaskState.RUNNING:
        notices.done(tx, notice)  # heard from meanwhile: its silence timer decides
        return
    said = {"message": outcome.why, "detail": outcome.detail}
    actions.not_started(tx, notice, code=CODE_FAILED, at=at, pauses=pauses, **said)


def _callback(tx: Transaction, notice: Notice) -> str | None:
    task = actions.told_of(tx, notice)
    return None if task is None else task.callback
