import json
from dataclasses import replace
from datetime import timedelta

import pytest

from builders import an_external
from change_set_builders import counted_statements, rows_of
from headwater.catalog import objects
from headwater.catalog.objects import EXTERNALS
from headwater.domain.errors import NotFound
from headwater.domain.parameter import Parameter, ParameterType
from headwater.domain.task import Publish
from headwater.lake import lookup, page_size
from headwater.streams.history import Standing

WORD = Parameter(name="word", type=ParameterType.STRING)


async def _history(world, crawler, doc_id="a"):
    return await world.history(crawler.stream, doc_id)


async def _told(world, crawler, doc_id="a"):
    """What each version holds as ``v``, and how it stands, newest first."""
    return [(json.loads(one.text)["v"], one.standing) for one in await _history(world, crawler, doc_id)]


async def _edited(world, external):
    """The External after an edit: its next version."""
    now = await world.db.read(objects.get, EXTERNALS, external.fid)
    edit = replace(now, **objects.edited(world.at, now.version))
    return await world.db.write(objects.save, EXTERNALS, now, edit)


async def _uploads(world, crawler, *values, code=None, ids="a"):
    task = await world.task(crawler)
    for value in values:
        await world.upload(task, [{"id": name, "v": value} for name in ids])
    if code is not None:
        await world.report(task, code)
    return task


async def test_every_version_is_told_newest_first_with_its_task_and_time(world):
    crawler = await world.crawler()
    tasks, times = [], []
    for value in range(3):
        task = await world.task(crawler)
        await world.upload(task, [{"id": "b"}, {"id": "a", "v": value}])
        times.append(world.at)
        tasks.append(await world.report(task, 200))
    found = await _history(world, crawler)
    assert [json.loads(one.text)["v"] for one in found] == [2, 1, 0]
    assert [one.task for one in found] == [task.fid for task in reversed(tasks)]
    assert [one.written_at for one in found] == times[::-1]
    assert [one.standing for one in found] == [Standing.SHOWN, Standing.COVERED, Standing.COVERED]
    assert {(one.attempt, one.external_version) for one in found} == {(1, 1)}


async def test_the_text_is_the_uploaded_bytes(world):
    crawler = await world.crawler()
    await world.done(crawler, b'{ "id":"a",  "n": 2e0, "\\u00e9": "\xc3\xa9" }\n')
    assert [one.text for one in await _history(world, crawler)] == ['{ "id":"a",  "n": 2e0, "\\u00e9": "é" }\n']


@pytest.mark.parametrize("compact", [False, True])
async def test_versions_of_one_task_cover_each_other_and_of_one_upload_the_last_shows(world, compact):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "v": 1}, {"id": "a", "v": 2}])
    await world.upload(task, [{"id": "a", "v": 3}])
    await world.report(task, 200)
    before = await _told(world, crawler)
    assert before == [(3, Standing.SHOWN), (2, Standing.COVERED), (1, Standing.COVERED)]
    if compact:
        await world.compact()
        assert await _told(world, crawler) == before[:2]  # what never showed is not kept


async def test_a_deleted_tasks_version_is_removed_and_what_it_covered_shows(world):
    crawler = await world.crawler()
    await _uploads(world, crawler, 1, code=200)
    task = await _uploads(world, crawler, 2, code=200)
    await world.delete(task)
    assert await _told(world, crawler) == [(2, Standing.REMOVED), (1, Standing.SHOWN)]
    await world.restore(task)
    assert await _told(world, crawler) == [(2, Standing.SHOWN), (1, Standing.COVERED)]
    await world.delete(task)
    assert await _told(world, crawler) == [(2, Standing.REMOVED), (1, Standing.SHOWN)]


async def test_what_went_with_many_tasks_is_removed(world):
    crawler = await world.crawler()
    await _uploads(world, crawler, 1, code=200)
    await _uploads(world, crawler, 2, code=200)
    await world.revert(crawler.stream)
    assert await _told(world, crawler) == [(2, Standing.REMOVED), (1, Standing.REMOVED)]


async def test_a_former_attempts_version_is_replaced_when_the_retry_ends_well(world):
    crawler = await world.crawler()
    task = await _uploads(world, crawler, 1, code=500)
    await world.retry(task)
    await world.upload(task, [{"id": "a", "v": 2}])
    assert await _told(world, crawler) == [(2, Standing.SHOWN), (1, Standing.COVERED)]
    await world.report(task, 200)
    assert await _told(world, crawler) == [(2, Standing.SHOWN), (1, Standing.REPLACED)]
    assert [one.attempt for one in await _history(world, crawler)] == [2, 1]
    await world.delete(task)
    assert await _told(world, crawler) == [(2, Standing.REMOVED), (1, Standing.REPLACED)]
    await world.restore(task)
    assert await _told(world, crawler) == [(2, Standing.SHOWN), (1, Standing.REPLACED)]


async def test_an_attempt_that_was_deleted_and_restored_before_it_was_replaced_is_replaced(world):
    crawler = await world.crawler()
    task = await _uploads(world, crawler, 1, code=500)
    await world.delete(task)
    await world.restore(task)
    await world.retry(task)
    await world.upload(task, [{"id": "a", "v": 2}])
    await world.report(task, 200)
    assert await _told(world, crawler) == [(2, Standing.SHOWN), (1, Standing.REPLACED)]


async def test_what_waits_for_success_waits_then_shows_or_stays_unpublished(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    well = await _uploads(world, crawler, 1)
    assert await _told(world, crawler) == [(1, Standing.WAITING)]
    await world.report(well, 200)
    assert await _told(world, crawler) == [(1, Standing.SHOWN)]
    ill = await _uploads(world, crawler, 2)
    assert await _told(world, crawler) == [(2, Standing.WAITING), (1, Standing.SHOWN)]
    await world.report(ill, 500)
    assert await _told(world, crawler) == [(2, Standing.UNPUBLISHED), (1, Standing.SHOWN)]
    await world.retry(ill)
    await world.upload(ill, [{"id": "a", "v": 3}])
    assert await _told(world, crawler) == [(3, Standing.WAITING), (2, Standing.UNPUBLISHED), (1, Standing.SHOWN)]
    await world.report(ill, 200)
    assert await _told(world, crawler) == [(3, Standing.SHOWN), (2, Standing.UNPUBLISHED), (1, Standing.COVERED)]


async def test_what_was_deleted_while_it_waited_stays_unpublished(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await _uploads(world, crawler, 1)
    await world.delete(task)
    assert await _told(world, crawler) == [(1, Standing.UNPUBLISHED)]


@pytest.mark.parametrize("compact", [False, True])
async def test_each_attempt_is_told_with_the_external_and_the_parameters_that_it_ran_with(world, compact):
    external = an_external(parameters=(WORD,))
    crawler = await world.crawler(external=external)
    task = await world.task(crawler, word="first")
    await world.upload(task, [{"id": "a", "v": 1}])
    await world.report(task, 500)
    await _edited(world, external)
    await world.retry(task, word="second")
    await world.upload(task, [{"id": "a", "v": 2}])
    await world.report(task, 200)
    newer = await world.task(crawler, word="third")
    await world.upload(newer, [{"id": "a", "v": 3}])
    if compact:
        await world.compact()
    assert [
        (one.task, one.attempt, one.external_version, one.params["word"]) for one in await _history(world, crawler)
    ] == [
        (newer.fid, 1, 2, "third"),
        (task.fid, 2, 2, "second"),
        (task.fid, 1, 1, "first"),
    ]


async def test_times_of_upload_are_exact_after_compaction_where_each_upload_showed(world):
    world.as_files = True
    crawler = await world.crawler()
    task, times = await world.task(crawler), []
    for value in range(70):
        await world.upload(task, [{"id": "x"}, {"id": "a", "v": value}, {"id": "y"}])
        times.append(world.at)
    assert [one.written_at for one in await _history(world, crawler)] == times[::-1]
    await world.compact()
    assert [row.is_compact for row in await rows_of(world, task)] == [False]
    assert [one.written_at for one in await _history(world, crawler)] == times[::-1]
    await world.report(task, 200)
    world.wait(hours=1)
    await world.compact()
    assert len(await rows_of(world, task)) == 1
    assert [one.written_at for one in await _history(world, crawler)] == times[::-1]


async def test_where_uploads_waited_together_the_time_is_that_of_the_last(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "v": 1}])
    first = world.at
    await world.upload(task, [{"id": "b"}])
    last = world.at
    await world.report(task, 200)
    assert [one.written_at for one in await _history(world, crawler)] == [first]
    await world.compact()
    assert [one.written_at for one in await _history(world, crawler)] == [last]


async def test_times_of_an_attempt_do_not_depend_on_what_a_former_one_uploaded(world):
    crawler = await world.crawler()
    task = await _uploads(world, crawler, 1, 1, 1, code=500)
    await world.retry(task)
    await world.upload(task, [{"id": "a", "v": 2}])
    second = world.at
    await world.upload(task, [{"id": "b"}])
    await world.report(task, 200)
    await world.compact()
    assert (await _history(world, crawler))[0].written_at == second


async def _restored_and_merged(world, crawler):
    """A task of two uploads that was deleted, restored and merged: its old files are named as well."""
    task = await _uploads(world, crawler, 1, 2, code=200, ids="ab")
    await world.delete(task)
    await world.restore(task)
    await world.compact()
    assert len(await rows_of(world, task)) == 3
    return task


async def test_a_version_that_lies_in_an_old_file_and_a_merged_one_is_told_once(world):
    crawler = await world.crawler()
    task = await _restored_and_merged(world, crawler)
    found = await _history(world, crawler)
    assert [json.loads(one.text)["v"] for one in found] == [2, 1]
    assert found[0].standing is Standing.SHOWN
    assert found[0].written_at - found[1].written_at == timedelta(seconds=1)
    await world.delete(task)
    assert await _told(world, crawler) == [(2, Standing.REMOVED), (1, Standing.REMOVED)]
    await world.purge()
    with pytest.raises(NotFound):
        await _history(world, crawler)


async def test_a_version_that_its_own_task_covers_is_not_removed_while_its_task_is_there(world):
    crawler = await world.crawler()
    await _restored_and_merged(world, crawler)
    assert await _told(world, crawler) == [(2, Standing.SHOWN), (1, Standing.COVERED)]


async def test_a_purged_version_is_not_told(world):
    crawler = await world.crawler()
    await _uploads(world, crawler, 1, code=200)
    task = await _uploads(world, crawler, 2, code=200)
    await world.delete(task)
    await world.purge()
    assert await _told(world, crawler) == [(1, Standing.SHOWN)]


async def test_other_documents_and_other_streams_are_not_told(world):
    crawler, other = await world.crawler(), await world.crawler()
    await world.done(crawler, [{"id": "a", "v": 1}, {"id": "a\0", "v": 2}, {"id": "aa", "v": 3}, {"id": "A", "v": 4}])
    await world.done(other, [{"id": "a", "v": 5}])
    assert await _told(world, crawler) == [(1, Standing.SHOWN)]
    assert await _told(world, crawler, "a\0") == [(2, Standing.SHOWN)]


@pytest.mark.parametrize("name", ["", "b", "0", "zz"])
async def test_what_never_was_is_not_found(world, name):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}, {"id": "z"}])
    with pytest.raises(NotFound, match="keeps no version"):
        await _history(world, crawler, name)
    with pytest.raises(NotFound, match="there is no stream"):
        await world.history("x", "a")


async def test_the_order_is_that_of_the_stream_not_of_the_ids_of_tasks(world):
    """An old task that is retried writes on top of a newer one."""
    crawler = await world.crawler()
    old = await _uploads(world, crawler, "old", code=500)
    await _uploads(world, crawler, "newer", code=200)
    await world.retry(old)
    await world.upload(old, [{"id": "a", "v": "again"}])
    assert await _told(world, crawler) == [
        ("again", Standing.SHOWN),
        ("newer", Standing.COVERED),
        ("old", Standing.COVERED),
    ]
    await world.report(old, 200)
    await world.compact()
    assert await _told(world, crawler) == [
        ("again", Standing.SHOWN),
        ("newer", Standing.COVERED),
        ("old", Standing.REPLACED),
    ]


async def test_the_catalog_is_asked_as_often_whatever_the_number_of_runs(world):
    crawler = await world.crawler()
    asked = []
    for runs in (1, 6):
        for _ in range(runs):
            await _uploads(world, crawler, "x", code=200)
        await _history(world, crawler)  # from now on, the segments of the stream are cached
        with counted_statements(world.db) as statements:
            found = await _history(world, crawler)
        asked.append((len(found), len(statements)))
    assert [versions for versions, _ in asked] == [1, 7]
    assert asked[0][1] == asked[1][1]


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("text", [1000, 32 << 20], ids=["large documents", "small documents"])
async def test_the_pages_of_a_history_are_all_versions_newest_first(world, monkeypatch, limit, text):
    for module in (page_size, lookup):
        monkeypatch.setattr(module, "PAGE_TEXT", text)
    crawler = await world.crawler()
    for number in range(4):
        await world.done(crawler, [{"id": "a", "v": 2 * number, "x": "x" * 600}, {"id": "a", "v": 2 * number + 1}])
    whole = await _history(world, crawler)
    before, found, totals = None, [], set()
    while True:
        page = await world.document_history.page(crawler.stream, "a", before=before, limit=limit)
        assert 0 < len(page.versions) <= limit
        found += page.versions
        totals.add(page.total)
        before = page.next_before
        if before is None:
            break
    assert totals == {len(found)}
    assert [one.text for one in found][: len(whole)] == [one.text for one in whole]
    assert [json.loads(one.text)["v"] for one in found if one.standing is Standing.SHOWN] == [7]
