from datetime import timedelta

import pytest
from sqlalchemy import func, select

from builders import a_task, an_external
from headwater.catalog import objects, segments, streams, tables
from headwater.catalog.objects import TASKS
from headwater.domain.errors import MovedMeanwhile, NotFound, ParametersInvalid, RequestInvalid, TaskClosed, TaskRemoved
from headwater.domain.parameter import Parameter, ParameterType
from headwater.domain.stream import Change
from headwater.domain.task import Publish, Reason, TaskState
from headwater.lifecycle import task_end
from headwater.lifecycle import tasks as task_actions

EC = "http://ec.test"
LANGUAGE = Parameter(name="language", type=ParameterType.LIST, options=("de", "en"), req=True)


async def _waiting(world):
    return await world.db.read(lambda tx: tx.execute(select(func.count()).select_from(tables.notices)).scalar())


async def _log(world, crawler):
    entries = await world.db.read(streams.log, crawler.stream, before=None, limit=100)
    return [(entry.version, entry.change, entry.docs) for entry in reversed(entries)]


async def test_a_task_copies_parameters_and_the_version_of_its_external(world):
    external = an_external(parameters=(LANGUAGE, Parameter(name="depth", type=ParameterType.INTEGER, default=3)))
    crawler = await world.crawler(external=external, params={"language": "de"})
    task = await world.task(crawler, depth=5)
    assert task.params == {"language": "de", "depth": 5}
    assert (task.external_version, task.code, task.state, task.attempt) == (1, 0, TaskState.NEW, 1)


async def test_overrides_are_checked_with_the_crawlers_parameters_as_a_whole(world):
    crawler = await world.crawler(external=an_external(parameters=(LANGUAGE,)), params={"language": "de"})
    with pytest.raises(ParametersInvalid):
        await world.task(crawler, language="fr")
    with pytest.raises(ParametersInvalid):
        await world.task(crawler, language=None)
    assert (await world.create(crawler)).begun


async def test_a_crawler_has_one_open_task_and_a_second_start_returns_it(world):
    crawler = await world.crawler()
    first = await world.create(crawler)
    second = await world.create(crawler)
    assert (first.begun, second.begun) == (True, False)
    assert second.task == first.task


async def test_passwords_are_sealed_in_the_task_and_reach_the_ec_plain(world):
    external = an_external(parameters=(Parameter(name="pin", type=ParameterType.PASSWORD),))
    task = await world.task(await world.crawler(external=external), pin="4711")
    assert "4711" not in str(task)
    assert world.vault.unseal_passwords(task.params) == {"pin": "4711"}


async def test_a_push_task_waits_for_its_script_and_an_ec_task_for_its_start(world):
    push = await world.task(await world.crawler(timeout=30))
    assert push.deadline == push.started_at + timedelta(seconds=30)
    assert await _waiting(world) == 0
    pull = await world.task(await world.crawler(external=an_external(endpoint=EC)))
    assert pull.deadline is None
    assert await _waiting(world) == 1


async def test_reports_move_a_task_and_say_when_it_was_heard(world):
    task = await world.task()
    running = await world.report(task, 102, message="half", detail={"n": 1})
    assert (running.code, running.state, running.message, running.detail) == (102, TaskState.RUNNING, "half", {"n": 1})
    assert running.deadline == running.heard_at + timedelta(seconds=task.timeout)
    done = await world.report(task, 201)
    assert (done.code, done.state, done.reason, done.deadline) == (201, TaskState.DONE, Reason.REPORTED, None)
    assert done.heard_at == done.ended_at == world.at


async def test_a_closing_code_may_be_repeated_and_no_other_follows(world):
    task = await world.task()
    done = await world.report(task, 200, message="ok")
    assert await world.report(task, 200, message="again") == done
    for code in (500, 102, 201):
        with pytest.raises(TaskClosed):
            await world.report(task, code)


async def test_codes_that_mean_nothing_are_refused(world):
    task = await world.task()
    for code in (0, 100, 199, 302, 600):
        with pytest.raises(RequestInvalid, match="no status code for a task"):
            await world.report(task, code)


async def test_a_crawlers_408_or_410_is_a_failure_that_it_reported(world):
    task = await world.report(await world.task(), 410)
    assert (task.code, task.state, task.reason) == (410, TaskState.FAILED, Reason.REPORTED)


async def test_what_speaks_for_a_former_attempt_is_not_heard(world):
    task = await world.task()
    await world.report(task, 500)
    await world.retry(task)
    with pytest.raises(MovedMeanwhile):
        await world.report(task, 200, attempt=1)
    assert (await world.report(task, 200, attempt=2)).state is TaskState.DONE


async def test_deleting_an_older_task_leaves_what_a_newer_one_wrote(world):
    crawler = await world.crawler()
    older = await world.done(crawler, [{"id": "a", "v": 1}, {"id": "b", "v": 1}])
    await world.done(crawler, [{"id": "a", "v": 2}])
    await world.delete(older)
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "v": 2}}


async def test_deleting_the_newest_task_brings_back_what_was_there_before_byte_for_byte(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a", "v": 1}, {"id": "c", "v": 1}])
    before = await world.export(crawler.stream)
    newest = await world.done(crawler, [{"id": "a", "v": 2}, {"id": "b", "v": 2}])
    assert await world.export(crawler.stream) != before
    await world.delete(newest)
    assert await world.export(crawler.stream) == before


async def test_a_restored_task_takes_its_old_place_in_the_order(world):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": "a", "v": 1}, {"id": "b", "v": 1}])
    await world.delete(first)
    await world.done(crawler, [{"id": "a", "v": 2}])
    restored = await world.restore(first)
    assert restored.removed_at is None
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "v": 2}, "b": {"id": "b", "v": 1}}


async def test_deleting_or_restoring_twice_changes_nothing(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}])
    deleted = await world.delete(task)
    version = (await world.stream(crawler.stream)).stream_version
    assert await world.delete(task) == deleted
    assert (await world.stream(crawler.stream)).stream_version == version
    restored = await world.restore(task)
    assert await world.restore(task) == restored
    assert (await world.stream(crawler.stream)).stream_version == version + 1


async def test_a_task_that_put_nothing_in_leaves_the_stream_version_alone(world):
    crawler = await world.crawler()
    task = await world.report(await world.task(crawler), 200)
    await world.delete(task)
    await world.restore(task)
    assert (await world.stream(crawler.stream)).stream_version == 0


async def test_deleting_a_running_task_stops_it(world):
    task = await world.task()
    await world.upload(task, [{"id": "a"}])
    deleted = await world.delete(task)
    assert (deleted.code, deleted.state, deleted.reason) == (410, TaskState.STOPPED, Reason.DELETED_BY_USER)
    with pytest.raises(TaskRemoved):
        await world.upload(task, [{"id": "b"}])
    with pytest.raises(TaskRemoved):
        await world.report(task, 200)


async def test_the_code_of_an_ended_task_stays_when_it_is_deleted(world):
    task = await world.report(await world.task(), 200)
    deleted = await world.delete(task)
    assert (deleted.code, deleted.state, deleted.removed_at) == (200, TaskState.DONE, world.at)


async def test_a_stopped_task_keeps_its_documents(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}])
    stopped = await world.stop(task)
    assert (stopped.code, stopped.reason) == (410, Reason.STOPPED_BY_USER)
    assert await world.stop(task) == stopped
    assert set(await world.shown(crawler.stream)) == {"a"}


async def test_a_task_that_ended_otherwise_cannot_be_stopped(world):
    task = await world.report(await world.task(), 200)
    with pytest.raises(TaskClosed):
        await world.stop(task)


async def test_a_retry_replaces_the_former_attempts_documents_in_the_step_that_ends_it_well(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a", "v": 1}, {"id": "gone", "v": 1}])
    again = (await world.retry(task)).task
    assert (again.attempt, again.code, again.docs, again.ended_at) == (2, 0, 0, None)
    await world.upload(task, [{"id": "a", "v": 2}])
    assert set(await world.shown(crawler.stream)) == {"a", "gone"}
    await world.report(task, 200)
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "v": 2}}
    assert (await _log(world, crawler))[-1][1] is Change.REPLACE


async def test_a_failed_retry_leaves_the_former_attempts_documents(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await world.done(crawler, [{"id": "a", "v": 1}])
    await world.retry(task)
    await world.upload(task, [{"id": "a", "v": 2}])
    await world.report(task, 500)
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "v": 1}}


async def test_a_retried_tasks_documents_lie_on_top_of_those_of_tasks_that_ran_since(world):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": "a", "v": 1}])
    await world.done(crawler, [{"id": "a", "v": 2}])
    await world.retry(first)
    await world.upload(first, [{"id": "a", "v": 3}])
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "v": 3}}


async def test_a_retry_is_answered_with_the_open_task_or_refused(world):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": "a"}])
    second = await world.task(crawler)
    assert await world.retry(first) == task_actions.Opened(task=second, begun=False, push=True)
    assert (await world.retry(second)).task == second
    await world.report(second, 200)
    await world.delete(first)
    with pytest.raises(TaskRemoved, match="restore it"):
        await world.retry(first)


async def test_a_task_of_another_crawler_cannot_be_retried_through_this_one(world):
    task = await world.report(await world.task(), 500)
    other = await world.crawler()
    with pytest.raises(NotFound):
        await world.db.write(task_actions.retry, other.fid, task.fid, {}, vault=world.vault, at=world.at)


async def test_documents_published_on_success_show_all_at_once_in_their_order(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "v": 1}])
    await world.upload(task, [{"id": "a", "v": 2}, {"id": "b", "v": 2}])
    assert await world.shown(crawler.stream) == {}
    assert (await world.stream(crawler.stream)).stream_version == 0
    await world.report(task, 200)
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "v": 2}, "b": {"id": "b", "v": 2}}
    assert await _log(world, crawler) == [(1, Change.PUBLISH, 3)]


async def test_what_was_never_published_is_not_published_by_a_restore(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}])
    await world.report(task, 500)
    await world.delete(task)
    await world.restore(task)
    assert await world.shown(crawler.stream) == {}


async def test_a_restore_brings_back_just_what_the_deletion_took(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "old"}])
    await world.retry(task)
    await world.upload(task, [{"id": "new"}])
    await world.report(task, 200)
    await world.delete(task)
    await world.restore(task)
    assert set(await world.shown(crawler.stream)) == {"new"}


async def test_every_stream_version_can_still_be_seen(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a", "v": 1}])
    await world.done(crawler, [{"id": "a", "v": 2}])
    await world.delete(task)
    await world.restore(task)
    await world.delete(task)
    seen = [{doc["v"] for doc in (await world.shown(crawler.stream, version)).values()} for version in range(6)]
    assert seen == [set(), {1}, {2}, {2}, {2}, {2}]
    assert [change for _, change, _ in await _log(world, crawler)] == [
        Change.UPLOAD,
        Change.UPLOAD,
        Change.REMOVE,
        Change.RESTORE,
        Change.REMOVE,
    ]


async def test_a_silent_task_is_timed_out_and_its_ec_told(world):
    crawler = await world.crawler(external=an_external(endpoint=EC), timeout=60)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}])
    heard = world.at
    ends = []
    for seconds in (59, 60):
        at = heard + timedelta(seconds=seconds)
        ends.append(await world.db.write(task_end.time_out, vault=world.vault, at=at, limit=10))
    assert ends == [0, 1]
    ended = await world.now(task)
    assert (ended.code, ended.state, ended.reason) == (408, TaskState.TIMED_OUT, Reason.SILENT)
    assert ended.message == "not heard from for 60 seconds"
    assert set(await world.shown(crawler.stream)) == {"a"}


async def test_an_ec_that_never_heard_of_a_task_is_not_told_of_its_end(world):
    task = await world.task(await world.crawler(external=an_external(endpoint=EC)))
    await world.stop(task)
    assert await _waiting(world) == 0


async def test_a_segment_has_one_row_for_each_time_that_it_showed(world):
    crawler = await world.crawler()
    task = await world.done(crawler, [{"id": "a"}])
    await world.delete(task)
    await world.restore(task)
    rows = await world.db.read(lambda tx: tx.values(select(tables.segments), segments.Segment))
    assert sorted((row.added_version, row.removed_version or 0, row.layer) for row in rows) == [(1, 2, 1), (3, 0, 1)]
    assert len({row.path for row in rows}) == 1
    assert len(await world.db.read(segments.of_attempt, await world.now(task))) == 1


async def test_a_task_that_is_not_there_is_not_found(world):
    for action in (world.delete, world.restore, world.stop):
        with pytest.raises(NotFound):
            await action(await _nothing(world))


async def _nothing(world):
    task = a_task()
    assert await world.db.read(objects.find, TASKS, task.fid) is None
    return task
