from datetime import timedelta

import pytest
from sqlalchemy import update

from change_set_builders import rows_of
from headwater.catalog import streams, tables
from headwater.domain.errors import NotFound, NothingToPublish, TaskPurged, TaskRemoved
from headwater.domain.gates import Gates
from headwater.domain.stream import Change
from headwater.domain.task import Publish, Reason, TaskState
from headwater.lifecycle import publication
from headwater.streams import diffs

TWO_AT_LEAST = Gates(min_docs=2)


@pytest.fixture(params=[Publish.LIVE, Publish.ON_SUCCESS])
def publish(request) -> Publish:
    """When documents show that no gate keeps out."""
    return request.param


def _docs(ids: str, v: int = 1) -> list[dict]:
    return [{"id": doc_id, "v": v} for doc_id in ids]


async def _log(world, crawler):
    entries = await world.db.read(streams.log, crawler.stream, before=None, limit=100)
    return [(entry.version, entry.change, entry.docs) for entry in reversed(entries)]


async def _set_gates(world, crawler, gates: Gates | None) -> None:
    of_it = tables.crawlers.c.fid == crawler.fid
    values = None if gates is None else vars(gates)
    await world.db.write(lambda tx: tx.execute(update(tables.crawlers).where(of_it).values(gates=values)))


async def _standing(world, crawler, doc_id: str):
    return [(v.attempt, v.standing) for v in await world.history(crawler.stream, doc_id)]


async def test_an_empty_run_is_done_with_its_gate_as_the_reason_and_the_stream_stays(world, publish):
    crawler = await world.crawler(publish=publish, gates=TWO_AT_LEAST)
    await world.done(crawler, _docs("ab"))
    version = (await world.stream(crawler.stream)).stream_version
    empty = await world.task(crawler)
    ended = await world.report(empty, 200, message="done", detail=[1])
    assert (ended.code, ended.state, ended.reason) == (200, TaskState.DONE, Reason.GATE_FAILED)
    assert ended.message == "not published, min_docs: 0 documents, and at least 2 are wanted"
    assert ended.detail == {
        "gates": [{"gate": "min_docs", "limit": 2, "value": 0}],
        "message": "done",
        "detail": [1],
    }
    assert await world.now(empty) == ended
    assert (await world.stream(crawler.stream)).stream_version == version
    assert set(await world.shown(crawler.stream)) == {"a", "b"}


async def test_documents_of_a_live_run_that_fails_a_gate_leave_the_stream_with_its_end(world):
    crawler = await world.crawler(gates=Gates(min_docs=3))
    await _set_gates(world, crawler, None)
    await world.done(crawler, _docs("ab"))
    await _set_gates(world, crawler, Gates(min_docs=3))
    task = await world.task(crawler)
    await world.upload(task, _docs("b", 2))
    await world.upload(task, _docs("c", 2))
    assert set(await world.shown(crawler.stream)) == {"a", "b", "c"}
    assert (await world.report(task, 200)).reason is Reason.GATE_FAILED
    assert await _log(world, crawler) == [
        (1, Change.UPLOAD, 2),
        (2, Change.UPLOAD, 1),
        (3, Change.UPLOAD, 1),
        (4, Change.WITHHOLD, 2),
    ]
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "v": 1}, "b": {"id": "b", "v": 1}}
    assert set(await world.shown(crawler.stream, 3)) == {"a", "b", "c"}
    version, changes = await world.changes(crawler.stream, 3)
    assert version == 4
    assert [(one["id"], one["op"]) for one in changes] == [("b", "upsert"), ("c", "delete")]
    assert await _standing(world, crawler, "c") == [(1, "unpublished")]
    assert await _standing(world, crawler, "b") == [(1, "unpublished"), (1, "shown")]
    # What it brought can still be looked at.
    kept = await world.reader.arrivals(task.fid, after=None, limit=10)
    assert len(kept.docs) == 2


async def test_repeating_the_closing_code_is_heard_though_a_gate_failed(world):
    crawler = await world.crawler(gates=TWO_AT_LEAST)
    task = await world.task(crawler)
    ended = await world.report(task, 200)
    assert await world.report(task, 200) == ended


async def test_a_run_is_compared_with_the_last_good_one_of_its_crawler(world, publish):
    crawler = await world.crawler(publish=publish, gates=Gates(max_shrink=0.5))
    first = await world.done(crawler, _docs("abcd"))
    assert first.reason is Reason.REPORTED  # there is none before
    shrunk = await world.done(crawler, _docs("a", 2))
    assert (shrunk.reason, shrunk.detail["gates"]) == (
        Reason.GATE_FAILED,
        [{"gate": "max_shrink", "limit": 0.5, "value": 0.75}],
    )
    # One that failed a gate is not the measure of the next, nor is one that failed.
    failed = await world.task(crawler)
    await world.report(failed, 500)
    assert (await world.done(crawler, _docs("a", 3))).reason is Reason.GATE_FAILED
    half = await world.done(crawler, _docs("ab", 4))
    assert half.reason is Reason.REPORTED
    assert (await world.done(crawler, _docs("a", 5))).reason is Reason.REPORTED
    # A deleted one is no measure either.
    await world.delete(half)
    await world.delete(await world.done(crawler, _docs("a", 6)))
    assert (await world.done(crawler, _docs("abcdefgh", 7))).reason is Reason.REPORTED
    other = await world.crawler(publish=publish, gates=Gates(max_shrink=0.5))
    assert (await world.done(other, _docs("a"))).reason is Reason.REPORTED


async def test_a_retry_is_compared_with_the_attempt_that_it_would_replace(world, publish):
    crawler = await world.crawler(publish=publish, gates=Gates(max_shrink=0.5))
    task = await world.done(crawler, _docs("abcd"))
    await world.retry(task)
    await world.upload(task, _docs("ae", 2))
    passed = await world.report(task, 200)
    assert passed.reason is Reason.REPORTED
    await world.retry(task)
    ended = await world.report(task, 200)
    assert (ended.attempt, ended.reason) == (3, Reason.GATE_FAILED)
    assert set(await world.shown(crawler.stream)) == {"a", "e"}


async def test_a_retry_that_fails_a_gate_leaves_the_former_attempts_documents(world, publish):
    crawler = await world.crawler(publish=publish, gates=TWO_AT_LEAST)
    task = await world.done(crawler, _docs("abc"))
    before = await world.export(crawler.stream)
    await world.retry(task)
    await world.upload(task, _docs("a", 2))
    assert (await world.report(task, 200)).reason is Reason.GATE_FAILED
    assert await world.export(crawler.stream) == before
    await world.compact()
    assert await world.export(crawler.stream) == before
    published = await world.publish(task)
    assert published.reason is Reason.PUBLISHED_BY_USER
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "v": 2}}
    assert (await _log(world, crawler))[-1][1:] == (Change.REPLACE, 4)
    assert await _standing(world, crawler, "a") == [(2, "shown"), (1, "replaced")]


async def test_a_task_that_is_let_in_shows_as_if_no_gate_had_been_there(world, publish):
    crawler = await world.crawler(publish=publish, gates=Gates(min_docs=5))
    task = await world.task(crawler)
    await world.upload(task, _docs("ab"))
    await world.upload(task, _docs("bc", 2))
    ended = await world.report(task, 200, message="so few")
    assert await world.shown(crawler.stream) == {}
    version = (await world.stream(crawler.stream)).stream_version
    published = await world.publish(task)
    assert (published.code, published.state, published.reason) == (200, TaskState.DONE, Reason.PUBLISHED_BY_USER)
    assert (published.detail, published.version) == (ended.detail, ended.version + 1)
    assert published.message == "published by hand, min_docs: 4 documents, and at least 5 are wanted"
    shown = {"a": {"id": "a", "v": 1}, "b": {"id": "b", "v": 2}, "c": {"id": "c", "v": 2}}
    assert await world.shown(crawler.stream) == shown
    assert await world.shown(crawler.stream, version) == {}
    assert (await _log(world, crawler))[-1] == (version + 1, Change.PUBLISH, 4)
    assert await world.publish(task) == published  # twice is harmless
    assert (await world.stream(crawler.stream)).stream_version == version + 1
    before = [await world.export(crawler.stream, at) for at in range(version + 2)]
    await world.compact()
    assert [await world.export(crawler.stream, at) for at in range(version + 2)] == before
    assert len([row for row in await rows_of(world, task) if row.removed_version is None]) == 1


async def test_a_task_that_was_let_in_lies_under_those_that_ran_after_it(world, publish):
    crawler = await world.crawler(publish=publish, gates=TWO_AT_LEAST)
    task = await world.done(crawler, _docs("a"))
    await world.done(crawler, _docs("ab", 2))
    await world.publish(task)
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "v": 2}, "b": {"id": "b", "v": 2}}
    assert await _standing(world, crawler, "a") == [(1, "shown"), (1, "covered")]


async def test_it_is_deleted_restored_and_published_in_any_order(world, publish):
    crawler = await world.crawler(publish=publish, gates=TWO_AT_LEAST)
    task = await world.done(crawler, _docs("a"))
    await world.delete(task)
    with pytest.raises(TaskRemoved):
        await world.publish(task)
    assert await _standing(world, crawler, "a") == [(1, "unpublished")]
    await world.restore(task)
    assert await world.shown(crawler.stream) == {}
    await world.publish(task)
    assert set(await world.shown(crawler.stream)) == {"a"}
    await world.delete(task)
    assert await world.shown(crawler.stream) == {}
    assert await _standing(world, crawler, "a") == [(1, "removed")]
    await world.restore(task)
    assert set(await world.shown(crawler.stream)) == {"a"}
    assert await _standing(world, crawler, "a") == [(1, "shown")]
    moved = await world.revert(crawler.stream, tasks=(task.fid,))
    assert await world.shown(crawler.stream) == {}
    await world.restore_all(crawler.stream, removed_version=moved.version)
    assert set(await world.shown(crawler.stream)) == {"a"}


async def test_deleting_a_gate_failed_retry_takes_what_the_former_attempt_left_and_restoring_brings_that_back(world):
    crawler = await world.crawler(gates=TWO_AT_LEAST)
    task = await world.done(crawler, _docs("ab"))
    await world.retry(task)
    await world.upload(task, _docs("c", 2))
    await world.report(task, 200)
    await world.delete(task)
    assert await world.shown(crawler.stream) == {}
    await world.restore(task)
    assert set(await world.shown(crawler.stream)) == {"a", "b"}
    await world.publish(task)
    assert set(await world.shown(crawler.stream)) == {"c"}


async def test_a_task_that_failed_a_gate_is_retried_like_any_other(world, publish):
    crawler = await world.crawler(publish=publish, gates=TWO_AT_LEAST)
    task = await world.done(crawler, _docs("a"))
    await world.retry(task)
    await world.upload(task, _docs("bc", 2))
    done = await world.report(task, 200)
    assert (done.attempt, done.reason) == (2, Reason.REPORTED)
    assert set(await world.shown(crawler.stream)) == {"b", "c"}
    with pytest.raises(NothingToPublish, match="passed its gates"):
        await world.publish(task)


async def test_what_a_task_did_is_nothing_until_it_is_published_and_is_counted_anew_then(world, publish):
    crawler = await world.crawler(publish=publish, gates=TWO_AT_LEAST)
    await world.done(crawler, _docs("ab"))
    task = await world.done(crawler, _docs("c", 2))

    async def did() -> dict[str, int]:
        counts = vars(await world.task_diffs.counts(lambda tx: diffs.of_task(tx, task.fid)))
        return {name: count for name, count in counts.items() if count}

    assert await did() == {}
    await world.publish(task)
    assert await did() == {"added": 1}
    assert (await world.now(task)).summary is None


async def test_only_what_a_gate_kept_out_is_published_by_hand(world):
    crawler = await world.crawler(gates=TWO_AT_LEAST, publish=Publish.ON_SUCCESS)
    open_task = await world.task(crawler)
    with pytest.raises(NothingToPublish, match=r"stands at 0 \(new\)"):
        await world.publish(open_task)
    await world.report(open_task, 500)
    with pytest.raises(NothingToPublish, match=r"ended with 500 \(failed\)"):
        await world.publish(open_task)
    with pytest.raises(NothingToPublish, match="passed its gates"):
        await world.publish(await world.done(crawler, _docs("ab")))
    empty = await world.task(crawler)
    await world.report(empty, 200)
    with pytest.raises(NothingToPublish, match="brought no documents"):
        await world.publish(empty)
    with pytest.raises(NotFound):
        await world.db.write(publication.publish, "0" * 32, at=world.at)


async def test_an_empty_retry_that_is_let_in_takes_the_former_documents_out(world, publish):
    crawler = await world.crawler(publish=publish, gates=TWO_AT_LEAST)
    task = await world.done(crawler, _docs("ab"))
    await world.retry(task)
    await world.report(task, 200)
    assert set(await world.shown(crawler.stream)) == {"a", "b"}
    await world.publish(task)
    assert await world.shown(crawler.stream) == {}


async def test_documents_that_are_kept_out_are_purged_with_the_retention(world, publish):
    crawler = await world.crawler(publish=publish, gates=TWO_AT_LEAST)
    task = await world.done(crawler, _docs("a"))
    world.wait(days=1)
    await world.purge()
    assert await rows_of(world, task) == []
    with pytest.raises(TaskPurged, match="purged since"):
        await world.publish(task)


async def test_documents_that_were_let_in_are_kept(world, publish):
    crawler = await world.crawler(publish=publish, gates=TWO_AT_LEAST)
    task = await world.done(crawler, _docs("a"))
    await world.publish(task)
    world.at += timedelta(days=1)
    await world.purge()
    assert set(await world.shown(crawler.stream)) == {"a"}


async def test_gates_are_those_that_the_crawler_has_when_the_task_ends(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, _docs("a"))
    await _set_gates(world, crawler, TWO_AT_LEAST)
    assert (await world.report(task, 201)).reason is Reason.GATE_FAILED
    await _set_gates(world, crawler, Gates())
    assert (await world.done(crawler, [])).reason is Reason.REPORTED


async def test_a_failed_run_is_not_judged(world):
    crawler = await world.crawler(gates=TWO_AT_LEAST)
    task = await world.task(crawler)
    assert (await world.report(task, 500)).reason is Reason.REPORTED
