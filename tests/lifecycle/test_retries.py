from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from builders import an_external
from headwater.catalog import notices, objects, tables, tasks
from headwater.catalog.objects import EXTERNALS
from headwater.domain.errors import NotFound, RequestInvalid, TaskClosed
from headwater.domain.parameter import Parameter, ParameterType
from headwater.domain.task import Origin, Reason, TaskState
from headwater.lifecycle import crawlers as crawler_actions
from headwater.lifecycle import task_end
from headwater.lifecycle import tasks as task_actions
from headwater.lifecycle.crawlers import CrawlerConfig
from headwater.lifecycle.ec.client import EcClient
from headwater.lifecycle.ec.dispatcher import Dispatcher
from headwater.lifecycle.retries import PAUSES
from headwater.lifecycle.scheduler import Scheduler

EC = "http://ec.test"


@pytest.fixture
def scheduler(world) -> Scheduler:
    return Scheduler(world.db, vault=world.vault, clock=world.clock, rng=lambda: 0.0)


async def _crawler(world, *, retries: int = 2, **fields):
    return await world.crawler(external=an_external(endpoint=EC), retries=retries, **fields)


async def _failed(world, task):
    return await world.report(task, 503, message="down")


async def _turn(world, scheduler, **wait: float) -> None:
    world.wait(**wait)
    await scheduler.turn(at=world.at)


async def _notices(world, task) -> list[tuple[str, int]]:
    wanted = tables.notices.select().where(tables.notices.c.task == task.fid).order_by(tables.notices.c.fid)
    found = await world.db.read(lambda tx: tx.values(wanted, notices.Notice))
    return [(notice.kind, notice.attempt) for notice in found]


async def test_a_failed_task_is_retried_with_growing_pauses_until_its_retries_are_used_up(world, scheduler):
    task = await world.task(await _crawler(world, retries=6))
    for pause in (*PAUSES, PAUSES[-1], PAUSES[-1]):
        failed = await _failed(world, task)
        assert failed.retry_at == world.at + timedelta(seconds=pause)
        await _turn(world, scheduler, seconds=pause - 1)
        assert (await world.now(task)).attempt == failed.attempt
        await _turn(world, scheduler, seconds=1)
        again = await world.now(task)
        assert (again.attempt, again.state, again.retry_at) == (failed.attempt + 1, TaskState.NEW, None)
        assert (again.origin, again.started_at) == (Origin.API, world.at)
    last = await _failed(world, task)
    assert (last.attempt, last.retry_at) == (7, None)
    await _turn(world, scheduler, days=1)
    assert await world.now(task) == last


async def test_each_retry_asks_the_ec_anew(world, scheduler):
    task = await world.task(await _crawler(world))
    await _failed(world, task)
    await _turn(world, scheduler, seconds=60)
    assert await _notices(world, task) == [("start", 2)]


async def test_a_task_that_fell_silent_is_retried_after_its_ec_was_told(world, scheduler):
    task = await world.task(await _crawler(world))
    await world.report(task, 102)
    await world.db.write(notices.withdraw, task.fid)
    world.wait(seconds=task.timeout)
    ended = await world.db.write(task_end.time_out, vault=world.vault, at=world.at, limit=10)
    assert ended == 1
    assert (await world.now(task)).retry_at == world.at + timedelta(seconds=60)
    assert await _notices(world, task) == [("end", 1)]
    await _turn(world, scheduler, seconds=60)
    assert (await world.now(task)).attempt == 2


async def test_a_task_that_could_not_be_started_is_retried(world, scheduler, ecs):
    ec_client = EcClient(ecs.transport())
    ecs.answer(httpx.Response(400, json={}))
    dispatcher = Dispatcher(
        world.db, ec_client, vault=world.vault, public_url="https://be", clock=world.clock, retry_backoff=(7.0,)
    )
    task = await world.task(await _crawler(world))
    await dispatcher.turn(at=world.at)
    await dispatcher.idle()
    failed = await world.now(task)
    assert (failed.reason, failed.retry_at) == (Reason.START_FAILED, world.at + timedelta(seconds=7))
    ecs.answer(httpx.Response(200, json={"payload": {"status": {"code": 500}}}))
    await _turn(world, scheduler, seconds=7)
    await dispatcher.turn(at=world.at)
    await dispatcher.idle()
    failed = await world.now(task)
    assert (failed.attempt, failed.reason) == (2, Reason.REPORTED)
    assert failed.retry_at == world.at + timedelta(seconds=7)
    await ec_client.close()


@pytest.mark.parametrize("code", [200, 500])
async def test_nothing_is_retried_that_need_not_or_shall_not_be(world, scheduler, code):
    crawler = await _crawler(world, retries=0 if code == 500 else 3)
    task = await world.task(crawler)
    ended = await world.report(task, code)
    assert ended.retry_at is None
    stopped = await world.task(await _crawler(world))
    assert (await world.stop(stopped)).retry_at is None
    await _turn(world, scheduler, days=1)
    assert (await world.now(task)).attempt == (await world.now(stopped)).attempt == 1


async def test_stopping_a_task_that_is_to_be_retried_leaves_it_as_it_ended(world, scheduler):
    task = await world.task(await _crawler(world))
    await _failed(world, task)
    stopped = await world.stop(task)
    assert (stopped.state, stopped.code, stopped.retry_at) == (TaskState.FAILED, 503, None)
    await _turn(world, scheduler, days=1)
    assert (await world.now(task)).attempt == 1
    with pytest.raises(TaskClosed):
        await world.stop(task)


async def test_deleting_a_task_calls_its_retry_off_for_good(world, scheduler):
    one, other = await world.task(await _crawler(world)), await world.task(await _crawler(world))
    for task in (one, other):
        await _failed(world, task)
    assert (await world.delete(one)).retry_at is None
    await world.revert(other.stream, tasks=(other.fid,))
    for task in (one, other):
        await world.restore(task)
    await _turn(world, scheduler, days=1)
    assert [(await world.now(task)).attempt for task in (one, other)] == [1, 1]


async def test_a_persons_retry_takes_the_place_of_the_automatic_one_and_begins_its_count_anew(world, scheduler):
    task = await world.task(await _crawler(world, retries=1))
    await _failed(world, task)
    await _turn(world, scheduler, seconds=60)
    assert (await _failed(world, task)).retry_at is None
    retried = (await world.retry(task)).task
    assert (retried.attempt, retried.retried, retried.retry_at) == (3, 0, None)
    assert (await _failed(world, task)).retry_at is not None


async def test_a_retry_waits_while_its_crawler_has_another_task(world, scheduler):
    crawler = await _crawler(world)
    task = await world.task(crawler)
    await _failed(world, task)
    other = await world.task(crawler)
    await _turn(world, scheduler, seconds=600)
    assert (await world.now(task)).attempt == 1
    await world.report(other, 200)
    await _turn(world, scheduler)
    assert (await world.now(task)).attempt == 2


async def test_several_processes_retry_a_task_once(world):
    task = await world.task(await _crawler(world))
    failed = await _failed(world, task)
    world.wait(seconds=60)
    first = await world.db.write(task_actions.retry_due, task.fid, vault=world.vault, at=world.at)
    second = await world.db.write(task_actions.retry_due, task.fid, vault=world.vault, at=world.at)
    assert first is not None
    assert second is None
    assert (await world.now(task)).attempt == failed.attempt + 1


async def test_what_the_external_does_not_take_any_more_is_not_retried_and_says_why(world, scheduler):
    external = an_external(endpoint=EC)
    task = await world.task(await world.crawler(external=external, retries=2))
    await _failed(world, task)
    needed = (Parameter(name="shop", type=ParameterType.STRING, req=True),)
    changed = replace(
        external, version=2, updated_at=world.at, definition=replace(external.definition, parameters=needed)
    )
    await world.db.write(objects.save, EXTERNALS, external, changed)
    await _turn(world, scheduler, seconds=60)
    now = await world.now(task)
    assert (now.attempt, now.state, now.retry_at) == (1, TaskState.FAILED, None)
    assert now.message.startswith("down; not retried: ")
    assert "shop" in now.message


async def test_a_script_that_nobody_could_start_is_not_retried(world, scheduler):
    pushed = await world.task(await world.crawler(retries=3))
    assert (await _failed(world, pushed)).retry_at is None
    setting = CrawlerConfig(params={}, timeout=60, publish="live", schedule=None, retries=1, meta={})
    crawler = await world.crawler()
    with pytest.raises(RequestInvalid) as refused:
        await world.db.write(
            crawler_actions.change_crawler,
            crawler,
            setting,
            credential=crawler_actions.KEEP,
            vault=world.vault,
            at=world.at,
        )
    assert refused.value.flaws[0].pointer == "/retries"
    task = await world.task(await _crawler(world))
    await _failed(world, task)
    external = await world.db.read(objects.get, EXTERNALS, task.external)
    push = replace(external, version=2, updated_at=world.at, definition=replace(external.definition, endpoint=None))
    await world.db.write(objects.save, EXTERNALS, external, push)
    await _turn(world, scheduler, seconds=60)
    now = await world.now(task)
    assert (now.attempt, now.retry_at) == (1, None)
    assert "has no endpoint any more" in now.message


async def test_the_former_attempts_documents_stay_until_a_retry_ends_well(world, scheduler):
    crawler = await _crawler(world)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "v": 1}, {"id": "b", "v": 1}])
    await _failed(world, task)
    await _turn(world, scheduler, seconds=60)
    assert set(await world.shown(crawler.stream)) == {"a", "b"}
    await world.upload(task, [{"id": "b", "v": 2}])
    await world.report(task, 200)
    assert await world.shown(crawler.stream) == {"b": {"id": "b", "v": 2}}


async def test_every_attempt_of_a_task_is_listed_newest_first(world, scheduler):
    crawler = await _crawler(world)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}])
    await _failed(world, task)
    await _turn(world, scheduler, seconds=60)
    second = await world.now(task)
    await world.report(task, 200)
    listed = await world.db.read(tasks.attempts_of, task.fid, before=None, limit=10)
    assert [(one.attempt, one.code, one.reason, one.docs) for one in listed] == [
        (2, 200, Reason.REPORTED, 0),
        (1, 503, Reason.REPORTED, 1),
    ]
    assert (listed[0].started_at, listed[1].message) == (second.started_at, "down")
    assert await world.db.read(tasks.attempts_of, task.fid, before=None, limit=1) == listed[:1]
    assert await world.db.read(tasks.attempts_of, task.fid, before=2, limit=10) == listed[1:]
    assert await world.db.read(tasks.attempts_of, task.fid, before=1, limit=10) == []
    with pytest.raises(NotFound):
        await world.db.read(tasks.attempts_of, "0" * 32, before=None, limit=10)
