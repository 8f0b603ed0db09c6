import asyncio
from datetime import timedelta

import pytest

from builders import AT, read_events
from headwater.catalog import crawlers, events, objects
from headwater.catalog.core.database import Database
from headwater.catalog.objects import CRAWLERS
from headwater.domain.expectation import Expectation
from headwater.domain.gates import Gates
from headwater.lifecycle import expectations
from headwater.lifecycle.scheduler import Scheduler

HOURLY = Expectation(every=3600, grace=600)
#: AT is at noon.
NIGHTLY = Expectation(cron="0 3 * * *", timezone="UTC", grace=3600)


def _scheduler(world, db=None) -> Scheduler:
    return Scheduler(db or world.db, vault=world.vault, clock=world.clock, rng=lambda: 0.0)


async def _expecting(world, expect: Expectation, **fields):
    return await world.crawler(expect=expect, expected_by=expect.deadline(after=AT), **fields)


async def _told(world) -> list[str]:
    found = await read_events(world.db, events.after, 0, limit=1000)
    return [event.type.partition(".")[2] for event in found if event.type in {"crawler.missed", "crawler.recovered"}]


async def _now(world, crawler):
    return await world.db.read(objects.get, CRAWLERS, crawler.fid)


async def test_a_run_that_did_not_come_is_told_once_and_the_next_good_one_too(world):
    crawler = await _expecting(world, HOURLY)
    scheduler = _scheduler(world)
    world.wait(seconds=4199)
    await scheduler.turn(at=world.at)
    assert await _told(world) == []
    for _ in range(3):
        world.wait(seconds=1)
        await scheduler.turn(at=world.at)
    assert await _told(world) == ["missed"]
    missed = await _now(world, crawler)
    assert (missed.missed_since, missed.expected_by, missed.version) == (AT + timedelta(hours=1), None, 1)
    # A failed run is no good one.
    await world.report(await world.task(crawler), 500)
    assert await _told(world) == ["missed"]
    await world.done(crawler, [{"id": "a"}])
    assert await _told(world) == ["missed", "recovered"]
    good = await _now(world, crawler)
    assert (good.missed_since, good.expected_by, good.version) == (None, HOURLY.deadline(after=world.at), 1)
    await world.done(crawler, [{"id": "a"}])
    assert await _told(world) == ["missed", "recovered"]


async def test_each_night_is_expected_of_its_own(world):
    crawler = await _expecting(world, NIGHTLY)
    scheduler = _scheduler(world)
    for _ in range(3):
        world.wait(days=1)
        await scheduler.turn(at=world.at)
    assert await _told(world) == ["missed"] * 3
    told = [
        event.data
        for event in await read_events(world.db, events.after, 0, limit=1000)
        if event.type == "crawler.missed"
    ]
    assert {data["missed_since"] for data in told} == {"2026-03-02T03:00:00Z"}
    assert [data["expected_at"][:10] for data in told] == ["2026-03-02", "2026-03-03", "2026-03-04"]
    await world.done(crawler, [{"id": "a"}])
    # Noon: the night's run came too late, and the next one is expected at three.
    assert (await _now(world, crawler)).expected_by == AT + timedelta(days=3, hours=16)


async def test_after_an_outage_one_miss_is_told(world):
    await _expecting(world, NIGHTLY)
    world.wait(days=30)
    for _ in range(2):
        await _scheduler(world).turn(at=world.at)
    assert await _told(world) == ["missed"]


async def test_a_withheld_run_is_good_once_a_person_publishes_it(world):
    crawler = await _expecting(world, HOURLY, gates=Gates(min_docs=10))
    world.wait(hours=2)
    await _scheduler(world).turn(at=world.at)
    task = await world.done(crawler, [{"id": "a"}])
    assert await _told(world) == ["missed"]
    await world.publish(task)
    assert await _told(world) == ["missed", "recovered"]


async def test_a_good_run_in_time_sets_the_next_deadline(world):
    crawler = await _expecting(world, HOURLY)
    for _ in range(3):
        world.wait(minutes=65)
        await world.done(crawler, [{"id": "a"}])
        await _scheduler(world).turn(at=world.at)
    assert await _told(world) == []


@pytest.mark.both_databases
async def test_of_two_servers_one_tells(world, url):
    for _ in range(5):
        await _expecting(world, HOURLY)
    world.wait(hours=2)
    other = Database(url)
    await asyncio.gather(*(_scheduler(world, db).turn(at=world.at) for db in (world.db, other)))
    other.close()
    assert await _told(world) == ["missed"] * 5


@pytest.mark.both_databases
async def test_a_miss_and_a_good_run_at_once_never_leave_a_crawler_missed(world, url):
    other = Database(url)
    for _ in range(10):
        crawler = await _expecting(world, HOURLY)
        task = await world.task(crawler)
        at = world.at + timedelta(hours=3)
        (_, done) = await asyncio.gather(
            other.write(expectations.miss_due, crawler.fid, at=at), world.report(task, 200)
        )
        now = await _now(world, crawler)
        assert now.missed_since is None or now.missed_since > done.ended_at
    other.close()
    told = await _told(world)
    # Whichever came first: a good run clears what was missed before it, and nothing else.
    assert told.count("missed") >= told.count("recovered")


async def test_what_is_not_expected_is_never_overdue(world):
    await world.crawler()
    assert await world.db.read(crawlers.overdue, at=world.at + timedelta(days=999), limit=10) == []


async def _recoveries(world) -> list[dict]:
    found = await read_events(world.db, events.after, 0, limit=1000)
    return [event.data for event in found if event.type == "crawler.recovered"]


async def test_the_first_good_run_after_bad_ones_is_told_once(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    assert await _recoveries(world) == []
    world.wait(hours=1)
    failed = []
    for code in (500, 404):
        failed.append(await world.report(await world.task(crawler), code))
        world.wait(hours=1)
    await world.stop(await world.task(crawler))
    await world.done(crawler, [{"id": "a"}])
    (told,) = await _recoveries(world)
    assert (told["missed_since"], told["failed"]) == (None, 2)
    assert told["failed_since"] == failed[0].ended_at.isoformat().replace("+00:00", "Z")
    await world.done(crawler, [{"id": "a"}])
    assert len(await _recoveries(world)) == 1


async def test_a_retry_that_ends_well_is_a_recovery(world):
    task = await world.task()
    await world.report(task, 500)
    retried = (await world.retry(task)).task
    world.wait(seconds=1)
    await world.report(retried, 200)
    assert [told["failed"] for told in await _recoveries(world)] == [1]
