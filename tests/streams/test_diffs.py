import json
from functools import partial

import pytest

from builders import a_stream
from headwater.domain.errors import NotFound, TaskPurged, VersionForgotten
from headwater.domain.stream import Counts
from headwater.domain.task import Publish, TaskFilter
from headwater.lake.diff import Moves, Operation
from headwater.streams import diffs


async def _did(world, task):
    return await world.task_diffs.counts(partial(diffs.of_task, fid=task.fid))


async def _deleting(world, task):
    return await world.task_diffs.counts_of_moves(partial(diffs.of_delete, fid=task.fid))


async def _restoring(world, task):
    return await world.task_diffs.counts_of_moves(partial(diffs.of_restore, fid=task.fid))


async def _reverting(world, stream, **wanted):
    return await world.task_diffs.counts_of_moves(partial(diffs.of_revert, stream=stream, wanted=TaskFilter(**wanted)))


async def _recovering(world, stream, **wanted):
    return await world.task_diffs.counts_of_moves(
        partial(diffs.of_restore_all, stream=stream, wanted=TaskFilter(**wanted))
    )


def _docs(**values):
    return [{"id": name, "v": value} for name, value in values.items()]


@pytest.fixture
async def crawler(world):
    """A crawler whose stream shows a, b and c."""
    made = await world.crawler()
    await world.done(made, _docs(a=1, b=1, c=1))
    return made


async def test_what_a_task_did_is_compared_with_what_its_stream_showed_without_it(world, crawler):
    task = await world.done(crawler, _docs(a=2, b=1, d=2))
    assert await _did(world, task) == Counts(added=1, changed=1, unchanged=1)


async def test_what_came_later_does_not_change_what_a_task_did(world, crawler):
    task = await world.done(crawler, _docs(a=2, b=1, d=2))
    newer = await world.done(crawler, _docs(a=3, d=3))
    for _ in range(2):
        assert await _did(world, task) == Counts(added=1, changed=1, unchanged=1)
        assert await _did(world, newer) == Counts(changed=2)
        await world.compact()
    await world.delete(task)
    assert await _did(world, task) == Counts(added=1, changed=1, unchanged=1)
    assert await _did(world, newer) == Counts(changed=2)


async def test_an_open_task_has_done_what_it_has_uploaded(world, crawler):
    task = await world.task(crawler)
    assert await _did(world, task) == Counts()
    await world.upload(task, _docs(a=2, d=2))
    assert await _did(world, task) == Counts(added=1, changed=1)
    await world.upload(task, _docs(a=1, d=3))
    assert await _did(world, task) == Counts(added=1, unchanged=1)


async def test_a_task_that_waits_for_success_has_done_nothing_before(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await world.task(crawler)
    await world.upload(task, _docs(a=1))
    await world.upload(task, _docs(a=2, b=2))
    assert await _did(world, task) == Counts()
    assert await _deleting(world, task) == Moves()
    await world.report(task, 200)
    assert await _did(world, task) == Counts(added=2)
    assert await _deleting(world, task) == Moves(removed=2)
    ill = await world.task(crawler)
    await world.upload(ill, _docs(a=3))
    await world.report(ill, 500)
    assert await _did(world, ill) == Counts()
    assert await _deleting(world, ill) == Moves()


@pytest.mark.parametrize("compact", [False, True])
async def test_a_retry_that_ended_well_is_compared_with_what_its_former_attempts_had_left(world, crawler, compact):
    task = await world.task(crawler)
    await world.upload(task, _docs(a=2, d=2, e=2))
    await world.report(task, 500)
    assert await _did(world, task) == Counts(added=2, changed=1)
    await world.retry(task)
    assert await _did(world, task) == Counts()
    await world.upload(task, _docs(a=3, d=2, f=3))
    assert await _did(world, task) == Counts(added=1, changed=1, unchanged=1)
    if compact:
        await world.compact()
    await world.report(task, 200)
    if compact:
        await world.compact()
    assert await _did(world, task) == Counts(added=1, changed=1, unchanged=1, removed=1)


async def test_a_retry_that_brought_nothing_and_ended_well_took_everything_away(world, crawler):
    task = await world.task(crawler)
    await world.upload(task, _docs(a=2, d=2))
    await world.report(task, 500)
    await world.retry(task)
    await world.report(task, 200)
    assert await _did(world, task) == Counts(changed=1, removed=1)
    assert (await world.shown(crawler.stream))["a"]["v"] == 1


async def test_a_retry_on_success_replaces_what_the_former_success_showed(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await world.done(crawler, _docs(a=1, b=1))
    await world.retry(task)
    await world.upload(task, _docs(b=1, c=2))
    assert await _did(world, task) == Counts()
    await world.report(task, 200)
    assert await _did(world, task) == Counts(added=1, unchanged=1, removed=1)


async def test_what_a_task_did_can_be_looked_at_page_by_page(world, crawler):
    task = await world.done(crawler, _docs(a=2, b=1, d=2, e=2))
    question = partial(diffs.of_task, fid=task.fid)
    added = await world.task_diffs.page(question, Operation.ADDED, after=None, limit=1)
    assert [(one.id, one.before, one.after.task) for one in added] == [("d", None, task.fid)]
    added = await world.task_diffs.page(question, Operation.ADDED, after="d", limit=5)
    assert [one.id for one in added] == ["e"]
    [changed] = await world.task_diffs.page(question, Operation.CHANGED, after=None, limit=5)
    assert (json.loads(changed.before.text)["v"], json.loads(changed.after.text)["v"]) == (1, 2)
    assert changed.before.task != task.fid


async def test_what_a_task_did_is_told_while_its_version_is_kept(world, crawler):
    task = await world.done(crawler, _docs(a=2))
    await world.done(crawler, _docs(z=1))
    await world.purge()
    with pytest.raises(VersionForgotten, match="summary"):
        await _did(world, task)


async def test_the_last_version_that_is_kept_is_still_told(world, crawler):
    task = await world.done(crawler, _docs(a=2, z=2))
    await world.purge()
    assert await _did(world, task) == Counts(added=1, changed=1)


@pytest.mark.parametrize("question", [diffs.of_task, diffs.of_delete, diffs.of_restore])
async def test_an_unknown_task_is_not_found(world, question):
    with pytest.raises(NotFound):
        await world.task_diffs.counts_of_moves(partial(question, fid="x"))


async def test_an_unknown_stream_is_not_found(world):
    for question in (_reverting, _recovering):
        with pytest.raises(NotFound):
            await question(world, a_stream().fid)


async def test_deleting_tells_what_would_come_to_light_and_what_would_go(world, crawler):
    task = await world.done(crawler, _docs(a=2, b=1, d=2, e=2))
    await world.done(crawler, _docs(e=3))
    assert await _deleting(world, task) == Moves(replaced=2, removed=1, unaffected=1)
    await world.compact()
    assert await _deleting(world, task) == Moves(replaced=2, removed=1, unaffected=1)


async def test_deleting_an_open_task_takes_what_it_has_uploaded(world, crawler):
    task = await world.task(crawler)
    await world.upload(task, _docs(a=2, d=2))
    await world.upload(task, _docs(d=3))
    assert await _deleting(world, task) == Moves(replaced=1, removed=1)


async def test_deleting_a_retried_task_takes_all_attempts_that_show(world, crawler):
    task = await world.task(crawler)
    await world.upload(task, _docs(a=2, d=2))
    await world.report(task, 500)
    await world.retry(task)
    await world.upload(task, _docs(e=2))
    assert await _deleting(world, task) == Moves(replaced=1, removed=2)
    await world.report(task, 200)
    assert await _deleting(world, task) == Moves(removed=1)


async def test_deleting_what_is_deleted_and_restoring_what_is_not_does_nothing(world, crawler):
    task = await world.done(crawler, _docs(a=2))
    assert await _restoring(world, task) == Moves()
    await world.delete(task)
    assert await _deleting(world, task) == Moves()


async def test_restoring_tells_what_would_come_back(world, crawler):
    task = await world.done(crawler, _docs(a=2, d=2, e=2))
    await world.done(crawler, _docs(e=3))
    await world.delete(task)
    assert await _restoring(world, task) == Moves(added=1, replaced=1, unaffected=1)
    shown = await world.task_diffs.page(partial(diffs.of_restore, fid=task.fid), Operation.ADDED, after=None, limit=5)
    assert [one.id for one in shown] == ["d"]
    await world.restore(task)
    assert await _deleting(world, task) == Moves(replaced=1, removed=1, unaffected=1)


async def test_restoring_what_never_showed_brings_nothing_back(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await world.task(crawler)
    await world.upload(task, _docs(a=1))
    await world.delete(task)
    assert await _restoring(world, task) == Moves()


async def test_restoring_what_is_purged_is_refused(world, crawler):
    task = await world.done(crawler, _docs(a=2))
    await world.delete(task)
    await world.purge()
    with pytest.raises(TaskPurged):
        await _restoring(world, task)


async def test_reverting_many_tells_what_they_together_hide(world, crawler):
    tasks = [await world.done(crawler, _docs(a=number, d=number, **{f"x{number}": 1})) for number in (2, 3)]
    await world.done(crawler, _docs(x3=4))
    both = tuple(task.fid for task in tasks)
    foreseen = await _reverting(world, crawler.stream, tasks=both)
    assert foreseen == Moves(replaced=1, removed=2, unaffected=1)
    assert await _reverting(world, crawler.stream, tasks=both[:1]) == Moves(removed=1, unaffected=2)
    before = await world.shown(crawler.stream)
    await world.revert(crawler.stream, tasks=both)
    after = await world.shown(crawler.stream)
    assert len(before.keys() - after.keys()) == foreseen.removed
    assert await _reverting(world, crawler.stream, tasks=both) == Moves()


async def test_a_dry_run_of_a_reversal_changes_nothing(world, crawler):
    task = await world.task(crawler)
    await world.upload(task, _docs(d=1))
    before = await world.stream(crawler.stream)
    await _reverting(world, crawler.stream)
    assert (await world.stream(crawler.stream), (await world.now(task)).is_open) == (before, True)


async def test_recovering_many_tells_what_would_come_back_but_for_the_purged(world, crawler):
    old = await world.done(crawler, _docs(o=1))
    await world.delete(old)
    moment = world.at
    tasks = [await world.done(crawler, _docs(a=number, d=number, **{f"x{number}": 1})) for number in (2, 3)]
    await world.revert(crawler.stream, tasks=tuple(task.fid for task in tasks))
    await world.purge(before=moment)
    assert await _recovering(world, crawler.stream) == Moves(added=3, replaced=1)
    assert await _recovering(world, crawler.stream, tasks=(tasks[0].fid,)) == Moves(added=2, replaced=1)
    before = await world.shown(crawler.stream)
    await world.restore_all(crawler.stream)
    assert len((await world.shown(crawler.stream)).keys() - before.keys()) == 3


async def test_of_a_task_without_documents_nothing_is_told(world, crawler):
    task = await world.done(crawler, [])
    assert await _did(world, task) == Counts()
    assert await _deleting(world, task) == Moves()
    await world.delete(task)
    assert await _restoring(world, task) == Moves()
    assert await _did(world, task) == Counts()


async def test_a_task_that_was_restored_still_did_what_it_did(world, crawler):
    task = await world.task(crawler)
    await world.upload(task, _docs(a=2, d=2))
    await world.upload(task, _docs(d=3))
    await world.report(task, 200)
    await world.delete(task)
    await world.restore(task)
    for _ in range(2):
        assert await _did(world, task) == Counts(added=1, changed=1)
        assert await _deleting(world, task) == Moves(replaced=1, removed=1)
        await world.compact()
