import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import structlog

from builders import a_stream, an_external, eventually
from headwater.catalog import objects
from headwater.catalog.objects import CRAWLERS, EXTERNALS, STREAMS, TASKS
from headwater.domain.errors import RequestInvalid
from headwater.domain.parameter import Parameter, ParameterType
from headwater.domain.schedule import Schedule
from headwater.domain.task import Origin, Publish, TaskState
from headwater.lifecycle import crawlers as crawler_actions
from headwater.lifecycle import schedules
from headwater.lifecycle.crawlers import CrawlerConfig
from headwater.lifecycle.scheduler import Scheduler

EC = "http://ec.test"
HOURLY = Schedule(every=3600)
NIGHTLY = Schedule(cron="30 2 * * *", timezone="Europe/Berlin")


def _lowest() -> float:
    return 0.0


@pytest.fixture
def scheduler(world) -> Scheduler:
    return Scheduler(world.db, vault=world.vault, clock=world.clock, rng=_lowest)


def _setting(schedule: Schedule | None, **fields) -> CrawlerConfig:
    return CrawlerConfig(
        **({"params": {}, "timeout": 60, "publish": Publish.LIVE, "schedule": schedule, "meta": {}} | fields)
    )


async def _crawler(world, schedule: Schedule | None, *, external=None, rng=_lowest, **fields):
    stream, external = a_stream(), external or an_external(endpoint=EC)

    def store(tx):
        objects.add(tx, STREAMS, stream)
        objects.add(tx, EXTERNALS, external)
        setting = _setting(schedule, **fields)
        return crawler_actions.create_crawler(
            tx, external.fid, stream.fid, setting, credential=None, vault=world.vault, at=world.at, rng=rng
        )

    return await world.db.write(store)


async def _change(world, crawler, schedule: Schedule | None, **fields):
    old = await _now(world, crawler)
    setting = _setting(schedule, **fields)
    return await world.db.write(
        crawler_actions.change_crawler,
        old,
        setting,
        credential=crawler_actions.KEEP,
        vault=world.vault,
        at=world.at,
        rng=_lowest,
    )


async def _now(world, crawler):
    return await world.db.read(objects.get, CRAWLERS, crawler.fid)


async def _runs(world, crawler):
    where = {"crawler": crawler.fid}
    return (await world.db.read(objects.page, TASKS, where=where, after=None, limit=1_000))[::-1]


async def _turn(world, scheduler, **wait: float) -> None:
    world.wait(**wait)
    await scheduler.turn(at=world.at)


async def test_a_run_that_is_due_is_started_and_the_next_one_is_set(world, scheduler):
    crawler = await _crawler(world, HOURLY)
    assert crawler.next_run_at == world.at + timedelta(hours=1)
    await _turn(world, scheduler, seconds=3599)
    assert await _runs(world, crawler) == []
    await _turn(world, scheduler, seconds=1)
    (run,) = await _runs(world, crawler)
    assert (run.origin, run.state, run.started_at) == (Origin.SCHEDULE, TaskState.NEW, world.at)
    now = await _now(world, crawler)
    assert (now.next_run_at, now.version, now.skipped_at) == (world.at + timedelta(hours=1), crawler.version, None)


async def test_a_crawler_without_a_schedule_never_runs_by_itself(world, scheduler):
    crawler = await _crawler(world, None)
    assert crawler.next_run_at is None
    await _turn(world, scheduler, days=400)
    assert await _runs(world, crawler) == []


async def test_a_run_that_is_due_while_one_is_open_is_skipped_and_that_is_told(world, scheduler):
    crawler = await _crawler(world, HOURLY)
    task = await world.task(crawler)
    with structlog.testing.capture_logs() as lines:
        await _turn(world, scheduler, hours=1)
    assert [run.fid for run in await _runs(world, crawler)] == [task.fid]
    now = await _now(world, crawler)
    assert (now.skipped_at, now.skipped_because) == (world.at, f"task {task.fid} was open (new)")
    assert now.next_run_at == crawler.next_run_at + timedelta(hours=1)
    (line,) = [line for line in lines if line["event"] == "schedule.skipped"]
    assert (line["crawler"], line["due_at"], line["why"]) == (crawler.fid, crawler.next_run_at, now.skipped_because)
    await world.report(task, 200)
    await _turn(world, scheduler, hours=1)
    assert len(await _runs(world, crawler)) == 2
    assert (await _now(world, crawler)).skipped_at == now.skipped_at


async def test_after_an_outage_one_run_is_made_up_for(world, scheduler):
    crawler = await _crawler(world, HOURLY)
    await _turn(world, scheduler, days=3, minutes=10)
    await scheduler.turn(at=world.at)
    (run,) = await _runs(world, crawler)
    assert (await _now(world, crawler)).next_run_at == crawler.created_at + timedelta(days=3, hours=1)
    await world.report(run, 200)
    await _turn(world, scheduler, minutes=50)
    assert len(await _runs(world, crawler)) == 2


async def test_what_was_missed_while_a_schedule_was_paused_is_not_made_up_for(world, scheduler):
    crawler = await _crawler(world, HOURLY)
    paused = await _change(world, crawler, replace(HOURLY, paused=True))
    assert paused.next_run_at is None
    await _turn(world, scheduler, days=1)
    resumed = await _change(world, crawler, HOURLY)
    assert resumed.next_run_at == world.at + timedelta(hours=1)
    await scheduler.turn(at=world.at)
    assert await _runs(world, crawler) == []


async def test_only_a_change_of_the_schedule_sets_the_next_run_anew(world):
    crawler = await _crawler(world, HOURLY)
    world.wait(minutes=10)
    assert (await _change(world, crawler, HOURLY, timeout=5)).next_run_at == crawler.next_run_at
    assert (await _change(world, crawler, Schedule(every=60))).next_run_at == world.at + timedelta(seconds=60)
    nightly = await _change(world, crawler, NIGHTLY)
    assert nightly.next_run_at == datetime(2026, 3, 2, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert (await _change(world, crawler, None)).next_run_at is None


async def test_jitter_moves_a_run_and_not_those_that_follow(world):
    rng = iter([0.5, 0.25]).__next__
    crawler = await _crawler(world, Schedule(every=3600, jitter=600), rng=rng)
    assert crawler.next_run_at == world.at + timedelta(seconds=3900)
    scheduler = Scheduler(world.db, vault=world.vault, clock=world.clock, rng=rng)
    await _turn(world, scheduler, seconds=3899)
    assert await _runs(world, crawler) == []
    await _turn(world, scheduler, seconds=1)
    assert len(await _runs(world, crawler)) == 1
    assert (await _now(world, crawler)).next_run_at == crawler.created_at + timedelta(seconds=2 * 3600 + 150)


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Europe/Berlin", (2026, 3, 28)),
        ("Europe/Berlin", (2026, 10, 24)),
        ("America/New_York", (2026, 3, 7)),
        ("America/New_York", (2026, 10, 31)),
        ("Australia/Lord_Howe", (2026, 10, 3)),
        ("Australia/Lord_Howe", (2026, 4, 4)),
    ],
)
async def test_a_nightly_run_is_started_once_a_night_when_the_clock_is_changed(world, scheduler, zone, day):
    world.at = datetime(*day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    schedule = Schedule(cron="15 2 * * *" if zone == "Australia/Lord_Howe" else "30 1,2 * * *", timezone=zone)
    crawler = await _crawler(world, schedule)
    for _ in range(3 * 24 * 2):
        await _turn(world, scheduler, minutes=30)
        for run in await _runs(world, crawler):
            if run.is_open:
                await world.report(run, 200)
    nights = [run.started_at.astimezone(ZoneInfo(zone)).date() for run in await _runs(world, crawler)]
    each = 1 if zone == "Australia/Lord_Howe" else 2
    assert [nights.count(night) for night in sorted(set(nights))] == [each, each, each]


async def test_several_processes_start_a_run_once(world):
    crawler = await _crawler(world, HOURLY)
    world.wait(hours=1)
    both = await asyncio.gather(
        *(world.db.write(schedules.run_due, crawler.fid, vault=world.vault, at=world.at, rng=_lowest) for _ in range(2))
    )
    assert sorted(opened is None for opened in both) == [False, True]
    assert len(await _runs(world, crawler)) == 1
    assert (await _now(world, crawler)).skipped_at is None


async def test_a_run_that_does_not_fit_the_external_any_more_is_skipped_and_the_next_is_tried(world, scheduler):
    external = an_external(endpoint=EC)
    crawler = await _crawler(world, HOURLY, external=external)
    needed = (Parameter(name="shop", type=ParameterType.STRING, req=True),)
    changed = replace(external, version=2, definition=replace(external.definition, parameters=needed))
    await world.db.write(objects.save, EXTERNALS, external, changed)
    await _turn(world, scheduler, hours=1)
    assert await _runs(world, crawler) == []
    now = await _now(world, crawler)
    assert now.skipped_at == world.at
    assert "shop" in now.skipped_because
    assert now.next_run_at == world.at + timedelta(hours=1)


async def test_a_script_has_no_schedule(world, scheduler):
    with pytest.raises(RequestInvalid) as refused:
        await _crawler(world, HOURLY, external=an_external())
    assert refused.value.flaws[0].pointer == "/schedule"
    external = an_external(endpoint=EC)
    crawler = await _crawler(world, HOURLY, external=external)
    push = replace(external, version=2, definition=replace(external.definition, endpoint=None))
    await world.db.write(objects.save, EXTERNALS, external, push)
    await _turn(world, scheduler, hours=1)
    assert await _runs(world, crawler) == []
    assert "has no endpoint any more" in (await _now(world, crawler)).skipped_because


async def test_a_new_run_by_schedule_calls_off_the_retry_of_the_one_before(world, scheduler):
    crawler = await _crawler(world, Schedule(every=30), retries=3)
    await _turn(world, scheduler, seconds=30)
    (first,) = await _runs(world, crawler)
    failed = await world.report(first, 500)
    assert failed.retry_at is not None
    await _turn(world, scheduler, seconds=30)
    assert len(await _runs(world, crawler)) == 2
    assert (await world.now(first)).retry_at is None


async def test_a_retry_of_a_run_that_a_person_began_outlives_a_run_by_schedule(world, scheduler):
    crawler = await _crawler(world, Schedule(every=30), retries=3)
    failed = await world.report(await world.task(crawler), 500)
    await _turn(world, scheduler, seconds=30)
    assert (await world.now(failed)).retry_at == failed.retry_at


async def test_a_retried_run_keeps_its_origin(world, scheduler):
    crawler = await _crawler(world, HOURLY, retries=1)
    await _turn(world, scheduler, hours=1)
    (run,) = await _runs(world, crawler)
    await world.report(run, 500)
    await _turn(world, scheduler, minutes=1)
    again = await world.now(run)
    assert (again.attempt, again.origin) == (2, Origin.SCHEDULE)


async def test_a_running_scheduler_outlives_a_database_that_is_away(world):
    crawler = await _crawler(world, HOURLY)
    world.wait(hours=1)
    fails = iter([True])

    class Away:
        def subscribe(self, *args):
            world.db.subscribe(*args)

        async def read(self, *args, **kwargs):
            if next(fails, False):
                raise OSError("away")
            return await world.db.read(*args, **kwargs)

        async def write(self, *args, **kwargs):
            return await world.db.write(*args, **kwargs)

    running = asyncio.create_task(Scheduler(Away(), vault=world.vault, clock=world.clock, rng=_lowest).run())

    async def has_run() -> bool:
        return bool(await _runs(world, crawler))

    await eventually(has_run)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
