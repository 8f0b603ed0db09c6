"""Snapshot runs: once one has ended well, the stream shows what it brought, and nothing else."""

from functools import partial

import pytest

from change_set_builders import rows_of
from headwater.catalog import notifications
from headwater.domain.errors import TaskPurged
from headwater.domain.gates import Gates
from headwater.domain.stream import Counts
from headwater.domain.task import Mode, Publish, Reason
from headwater.lake.diff import Moves
from headwater.streams import diffs
from headwater.streams.counters import DocumentCounter
from headwater.streams.history import Standing

SNAPSHOT = Mode.SNAPSHOT


def docs(ids: str, v: int = 1) -> list[dict]:
    return [{"id": doc_id, "v": v} for doc_id in ids]


def shows(ids: str, v: int = 1) -> dict[str, dict]:
    return {doc["id"]: doc for doc in docs(ids, v)}


@pytest.fixture(params=[Publish.LIVE, Publish.ON_SUCCESS])
async def crawler(world, request):
    """A crawler of snapshots."""
    return await world.crawler(publish=request.param, mode=SNAPSHOT)


async def test_what_a_snapshot_run_does_not_bring_disappears_when_it_ends_well(world, crawler):
    await world.done(crawler, docs("abc"))
    task = await world.task(crawler)
    await world.upload(task, docs("bd", 2))
    assert {"a", "b", "c"} <= (await world.shown(crawler.stream)).keys()
    await world.report(task, 200)
    assert await world.shown(crawler.stream) == shows("bd", 2)
    assert await world.shown(crawler.stream, without=[task.fid]) == shows("abc")


async def test_one_that_fails_or_is_stopped_hides_nothing(world, crawler):
    await world.done(crawler, docs("abc"))
    failed = await world.task(crawler)
    await world.upload(failed, docs("a", 2))
    await world.report(failed, 500)
    stopped = await world.task(crawler)
    await world.stop(stopped)
    assert (await world.shown(crawler.stream)).keys() == set("abc")


async def test_one_that_brings_nothing_empties_the_stream_unless_a_gate_holds_it_back(world):
    crawler = await world.crawler(mode=SNAPSHOT, gates=Gates(min_docs=1))
    await world.done(crawler, docs("abc"))
    empty = await world.done(crawler, [])
    assert empty.reason is Reason.GATE_FAILED
    assert await world.shown(crawler.stream) == shows("abc")
    await world.publish(empty)
    assert await world.shown(crawler.stream) == {}
    await world.delete(empty)
    assert await world.shown(crawler.stream) == shows("abc")
    await world.restore(empty)
    assert await world.shown(crawler.stream) == {}


async def test_one_that_a_gate_held_back_comes_in_beneath_later_runs(world, crawler):
    crawler = await world.crawler(publish=crawler.publish, mode=SNAPSHOT, gates=Gates(max_shrink=0.5))
    await world.done(crawler, docs("abcd"))
    held_back = await world.done(crawler, docs("x"))
    assert held_back.reason is Reason.GATE_FAILED
    await world.done(crawler, docs("yz"), mode=Mode.MERGE)
    assert (await world.shown(crawler.stream)).keys() == set("abcdyz")
    await world.publish(held_back)
    assert (await world.shown(crawler.stream)).keys() == set("xyz")


async def test_max_shrink_compares_runs_of_the_same_mode(world):
    crawler = await world.crawler(mode=SNAPSHOT, gates=Gates(max_shrink=0.5))
    await world.done(crawler, docs("abcdefgh"))
    assert (await world.done(crawler, docs("a", 2), mode=Mode.MERGE)).reason is Reason.REPORTED
    assert (await world.done(crawler, docs("abc"))).reason is Reason.GATE_FAILED


async def test_max_shrink_compares_runs_of_the_same_scope(world):
    crawler = await world.crawler(mode=SNAPSHOT, gates=Gates(max_shrink=0.5))
    large, small = ["v=1", "id<z"], ["v=2"]
    await world.done(crawler, docs("abcdefgh"), scope=large)
    first = await world.done(crawler, docs("x", 2), scope=small)
    second = await world.done(crawler, docs("x", 2), scope=small)
    assert (first.reason, second.reason) == (Reason.REPORTED, Reason.REPORTED)
    assert (await world.done(crawler, docs("abc"), scope=large)).reason is Reason.GATE_FAILED
    counts = await world.db.read(notifications.docs_of_good_runs, crawler.fid, but=second.fid, limit=9)
    assert counts == [1]


async def test_the_mode_of_a_run_is_its_crawlers_unless_one_is_given_and_retries_keep_it(world):
    crawler = await world.crawler()
    await world.done(crawler, docs("ab"))
    task = await world.done(crawler, docs("c"), mode=SNAPSHOT)
    assert await world.shown(crawler.stream) == shows("c")
    again = (await world.retry(task)).task
    assert again.mode is SNAPSHOT
    await world.upload(again, docs("d"))
    await world.report(again, 200)
    assert await world.shown(crawler.stream) == shows("d")
    await world.done(crawler, docs("e"))
    assert await world.shown(crawler.stream) == shows("de")


async def test_snapshots_are_undone_in_any_order_merged_and_folded_or_not(world, crawler):
    tasks = [await world.done(crawler, docs(ids)) for ids in ("abc", "bcd", "cde")]
    for fold in (False, True):
        await world.delete(tasks[2])
        assert await world.shown(crawler.stream) == shows("bcd")
        await world.delete(tasks[0])
        assert await world.shown(crawler.stream) == shows("bcd")
        await world.delete(tasks[1])
        assert await world.shown(crawler.stream) == {}
        await world.restore(tasks[0])
        assert await world.shown(crawler.stream) == shows("abc")
        await world.restore(tasks[2])
        await world.restore(tasks[1])
        assert await world.shown(crawler.stream) == shows("cde")
        if not fold:
            await world.compact()
            await world.fold()


async def test_earlier_versions_read_as_before(world, crawler):
    await world.done(crawler, docs("abc"))
    before = (await world.stream(crawler.stream)).stream_version
    await world.done(crawler, docs("d"))
    await world.compact()
    await world.fold()
    assert await world.shown(crawler.stream, before) == shows("abc")


async def test_what_disappears_is_told_by_diff_summary_change_feed_and_count(world, crawler):
    await world.done(crawler, docs("abc"))
    since = (await world.stream(crawler.stream)).stream_version
    task = await world.done(crawler, [*docs("b"), *docs("d", 2)])
    counts = Counts(added=1, changed=0, unchanged=1, removed=2)
    assert await world.task_diffs.counts(partial(diffs.of_task, fid=task.fid)) == counts
    _, changes = await world.changes(crawler.stream, since)
    assert [(change["id"], change["op"]) for change in changes if change["op"] == "delete"] == [
        ("a", "delete"),
        ("c", "delete"),
    ]
    while await DocumentCounter(world.db, world.engine).turn():
        pass
    assert (await world.now(task)).summary == counts
    assert (await world.stream(crawler.stream)).docs == 2


async def test_the_dry_run_of_undoing_one_tells_what_comes_back(world, crawler):
    await world.done(crawler, docs("abc"))
    task = await world.done(crawler, docs("bd", 2))
    foreseen = await world.task_diffs.counts_of_moves(partial(diffs.of_delete, fid=task.fid))
    assert foreseen == Moves(added=2, replaced=1, removed=1)


async def test_history_says_that_a_snapshot_dropped_it(world, crawler):
    await world.done(crawler, docs("a", 1))
    await world.done(crawler, docs("a", 2))
    task = await world.done(crawler, docs("b"))
    standings = [one.standing for one in await world.history(crawler.stream, "a")]
    assert standings == [Standing.DROPPED, Standing.COVERED]
    await world.delete(task)
    standings = [one.standing for one in await world.history(crawler.stream, "a")]
    assert standings == [Standing.SHOWN, Standing.COVERED]


async def test_the_change_feed_tells_of_an_erased_document_only_who_holds_it(world, crawler):
    await world.done(crawler, docs("ab"))
    held = (await world.stream(crawler.stream)).stream_version
    await world.done(crawler, docs("b"))
    gone = (await world.stream(crawler.stream)).stream_version
    await world.document_erasure.erase(crawler.stream, "a")
    _, changes = await world.changes(crawler.stream, held)
    assert {(change["id"], change["op"]) for change in changes if change["op"] == "delete"} == {("a", "delete")}
    assert await world.changes(crawler.stream, gone) == (gone + 1, [])


async def test_an_undone_snapshot_is_purged_with_its_floor(world, crawler):
    await world.done(crawler, docs("ab"))
    task, empty = await world.done(crawler, docs("b")), await world.done(crawler, [])
    await world.delete(empty)
    await world.delete(task)
    world.wait(days=40)
    await world.purge()
    assert await rows_of(world, task, empty) == []
    for gone in (task, empty):
        with pytest.raises(TaskPurged):
            await world.restore(gone)
    assert await world.shown(crawler.stream) == shows("ab")


async def test_a_replay_into_an_earlier_run_stays_beneath_the_floor(world):
    crawler = await world.crawler(mode=SNAPSHOT)
    await world.loosen(crawler, schema={"properties": {"v": {"maximum": 1}}})
    early = await world.task(crawler)
    await world.upload(early, [*docs("a"), *docs("x", 9)], lenient=True)
    await world.report(early, 200)
    later = [await world.done(crawler, docs("b")), await world.done(crawler, [])]
    await world.loosen(crawler)
    assert (await world.replay(early)).replayed == 1
    assert await world.shown(crawler.stream) == {}
    await world.delete(later[1])
    assert await world.shown(crawler.stream) == shows("b")
    await world.delete(later[0])
    assert (await world.shown(crawler.stream)).keys() == set("ax")


async def test_settled_snapshots_fold_to_what_can_still_show(world, crawler):
    for day in range(4):
        await world.done(crawler, docs("abc"[: day + 1], day))
        world.wait(days=1)
    await world.done(crawler, docs("z"))
    await world.set_undo_days(crawler.stream, 2)
    await world.retention.settle(at=world.at, leave=world.retention._keep)  # noqa: SLF001 - any
    while await world.fold():
        pass
    assert await world.shown(crawler.stream) == shows("z")
