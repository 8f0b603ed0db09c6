import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from builders import AT, read_events
from headwater.catalog import events, objects, scheduled_backups
from headwater.catalog.core.database import Database
from headwater.catalog.objects import NOTIFICATIONS
from headwater.catalog.scheduled_backups import MadeBackup
from headwater.domain.event import Event
from headwater.domain.ids import new_fid
from headwater.domain.notification import BACKOFF, Conditions, Notification
from headwater.lifecycle.notifications.dispatcher import NotificationDispatcher


class Service:
    """What a service is sent, and what it answers."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []
        self.errors: list[str | None] = []

    async def send(self, url: str, title: str, body: str) -> str | None:
        self.sent.append((url, title, body))
        return self.errors.pop(0) if self.errors else None


@pytest.fixture
def service() -> Service:
    return Service()


def _dispatcher(world, service, db=None) -> NotificationDispatcher:
    return NotificationDispatcher(
        db or world.db, service, vault=world.vault, public_url="http://hw.test/", clock=world.clock
    )


async def _notification(world, **fields) -> Notification:
    base = {
        "fid": new_fid(AT),
        "sealed_url": world.vault.seal("slack://secret"),
        "shown_url": "slack://…",
        "place": await read_events(world.db, events.last),
        "created_at": AT,
        "updated_at": AT,
        "version": 1,
        "meta": {},
    }
    return await world.db.write(objects.add, NOTIFICATIONS, Notification(**(base | fields)))


async def _pass(world, dispatcher, seconds: float) -> None:
    await dispatcher.turn(at=world.at)
    world.wait(seconds=seconds)
    await dispatcher.turn(at=world.at)


async def _failed(world, crawler, message="no price"):
    return await world.report(await world.task(crawler), 500, message=message)


async def test_a_failure_is_told_with_numbers_and_a_link(world, service):
    await _notification(world)
    crawler = await world.crawler(meta={"name": "Books"})
    task = await _failed(world, crawler)
    dispatcher = _dispatcher(world, service)
    await _pass(world, dispatcher, 59)
    assert service.sent == []
    await _pass(world, dispatcher, 60)
    assert service.sent == [
        (
            "slack://secret",
            "Headwater: 1 failed",
            f"Books: a run failed with 500, after 0 documents: no price http://hw.test/console/runs/{task.fid}",
        )
    ]
    await _pass(world, dispatcher, 600)
    assert len(service.sent) == 1


async def test_ten_thousand_failures_in_a_minute_are_one_message(world, service):
    await _notification(world)

    def storm(tx):
        for number in range(10_000):
            data = {"code": 500, "docs": 0, "message": f"shop {number} is closed"}
            events.append(tx, Event(at=world.at, type="task.failed", task="t" * 32, crawler="c" * 32, data=data))

    await world.db.write(storm)
    await _pass(world, _dispatcher(world, service), 61)
    ((_, title, body),) = service.sent
    assert title == "Headwater: 10,000 failed"
    assert len(body.splitlines()) == 11


async def test_what_comes_while_a_message_waits_is_the_next_message(world, service):
    notification = await _notification(world)
    crawler = await world.crawler(meta={"name": "Books"})
    dispatcher = _dispatcher(world, service)
    await _failed(world, crawler, "first")
    service.errors = ["it is down", "it is down"]
    await _pass(world, dispatcher, 61)
    assert (await world.db.read(objects.get, NOTIFICATIONS, notification.fid)).last_error == "it is down"
    await _failed(world, crawler, "second")
    await _pass(world, dispatcher, BACKOFF[0])
    await _pass(world, dispatcher, BACKOFF[1])
    await _pass(world, dispatcher, 61)
    assert ["first" in body for _, _, body in service.sent] == [True, True, True, False]
    assert "second" in service.sent[-1][2]
    kept = await world.db.read(objects.get, NOTIFICATIONS, notification.fid)
    assert (kept.last_error, kept.outgoing, kept.grouped, kept.version) == (None, None, None, 1)


async def test_a_message_that_cannot_be_sent_is_given_up(world, service):
    notification = await _notification(world)
    await _failed(world, await world.crawler())
    dispatcher = _dispatcher(world, service)
    service.errors = ["it is gone"] * 20
    await _pass(world, dispatcher, 61)
    for pause in (*BACKOFF, 99_999):
        await _pass(world, dispatcher, pause)
    assert len(service.sent) == len(BACKOFF) + 1
    kept = await world.db.read(objects.get, NOTIFICATIONS, notification.fid)
    assert (kept.last_error, kept.outgoing) == ("it is gone", None)


async def test_a_process_that_dies_while_it_sends_leaves_the_message_to_another(world, service):
    await _notification(world)
    await _failed(world, await world.crawler())

    class Dying(Service):
        async def send(self, *_) -> None:
            raise asyncio.CancelledError

    dying = _dispatcher(world, Dying())
    with pytest.raises(asyncio.CancelledError):
        await _pass(world, dying, 61)
    await _pass(world, _dispatcher(world, service), 30)
    assert service.sent == []
    await _pass(world, _dispatcher(world, service), 60)
    assert len(service.sent) == 1


@pytest.mark.both_databases
async def test_of_two_servers_one_sends(world, service, url):
    await _notification(world)
    crawler = await world.crawler()
    other = Database(url)
    both = [_dispatcher(world, service), _dispatcher(world, service, other)]
    for _ in range(5):
        await _failed(world, crawler)
        await asyncio.gather(*(each.turn(at=world.at) for each in both))
    world.wait(seconds=61)
    await asyncio.gather(*(each.turn(at=world.at) for each in both))
    other.close()
    assert [title for _, title, _ in service.sent] == ["Headwater: 5 failed"]


async def test_runs_that_ended_well_are_told_by_their_numbers(world, service):
    crawler = await world.crawler(meta={"name": "Books"})
    for _ in range(3):
        await world.done(crawler, [{"id": str(number)} for number in range(10)])
    await _notification(world, conditions=Conditions(max_shrink=0.5), events=())
    await world.done(crawler, [{"id": str(number)} for number in range(5)])
    await world.done(crawler, [{"id": "a"}])
    await _pass(world, _dispatcher(world, service), 61)
    ((_, title, body),) = service.sent
    assert title == "Headwater: 1 with fewer documents"
    assert body.startswith("Books: 1 document, 90% fewer than usual (10)")


async def test_what_a_notification_is_not_about_is_not_told(world, service):
    mine, others = await world.crawler(), await world.crawler()
    await _notification(world, crawlers=(mine.fid,))
    await _notification(world, streams=(others.stream,), enabled=False)
    await _failed(world, others)
    await _pass(world, _dispatcher(world, service), 61)
    assert service.sent == []


async def test_a_change_of_a_notification_keeps_what_it_has_collected(world, service):
    notification = await _notification(world)
    await _failed(world, await world.crawler())
    dispatcher = _dispatcher(world, service)
    await dispatcher.turn(at=world.at)
    new = replace(notification, group_seconds=5, **objects.edited(world.at, 1))
    await world.db.write(objects.save, NOTIFICATIONS, notification, new)
    await _pass(world, dispatcher, timedelta(seconds=61).total_seconds())
    assert len(service.sent) == 1


async def test_backups_that_fail_are_told_once_until_one_is_made(world, service):
    await _notification(world, events=("backup.failed", "backup.created"))
    await _notification(world, events=("backup.failed",), crawlers=((await world.crawler()).fid,))
    made = MadeBackup(name="b", files=2, new_files=1, bytes=20, new_bytes=10)
    for _ in range(3):
        await world.db.write(scheduled_backups.fail, "the disk is full", at=world.at)
    await world.db.write(scheduled_backups.succeed, made, at=world.at)
    await world.db.write(scheduled_backups.fail, "the disk is full", at=world.at)
    await _pass(world, _dispatcher(world, service), 60)
    link, last = "http://hw.test/console/system", f"{world.at:%Y-%m-%d}"
    ((_, title, body),) = service.sent
    assert title == "Headwater: 2 without a backup, 1 backed up"
    first, second, third = body.splitlines()
    assert first == f"Headwater: no backup could be made: the disk is full {link}"
    assert second == f"Headwater: backup b was made, with 1 new file; it had failed 3 times before {link}"
    assert third.startswith(f"Headwater: no backup could be made: the disk is full; the last one was made at {last}")
