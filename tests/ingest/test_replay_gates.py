"""Rejected lines of runs that a gate keeps out of their stream."""

from datetime import timedelta

import pytest

from builders import an_external
from change_set_builders import rows_of, versions_of
from headwater.catalog import segments, streams
from headwater.domain.errors import TaskPurged
from headwater.domain.gates import Gates
from headwater.domain.stream import Change, Counts
from headwater.domain.task import Publish, Reason
from headwater.ingest.replay import Replayed
from headwater.streams import diffs

STRICT = {"type": "object", "properties": {"n": {"type": "integer"}}}
NONE_AT_ALL = Gates(max_rejected=0)


@pytest.fixture(params=list(Publish))
def publish(request) -> Publish:
    """When documents show that no gate keeps out."""
    return request.param


async def _crawler(world, publish=Publish.LIVE, gates=NONE_AT_ALL):
    return await world.crawler(external=an_external(schema=STRICT), publish=publish, gates=gates)


async def _withheld(world, crawler, *uploads):
    task = await world.task(crawler)
    for docs in uploads:
        await world.upload(task, docs, lenient=True)
    ended = await world.report(task, 200)
    assert ended.reason is Reason.GATE_FAILED
    return ended


async def _log(world, crawler):
    return [entry.change for entry in await world.db.read(streams.log, crawler.stream, before=None, limit=9)][::-1]


@pytest.mark.parametrize(
    ("most", "bad", "is_kept_out"),
    [(0, 1, True), (0.5, 2, False), (0.5, 3, True), (1, 1, False), (1, 2, True), (2, 2, False)],
)
async def test_a_lenient_run_with_more_rejected_lines_than_its_gate_lets_pass_is_kept_out(
    world, publish, most, bad, is_kept_out
):
    crawler = await _crawler(world, publish, Gates(max_rejected=most))
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}], lenient=True)
    await world.upload(task, b'{"id":"b"}\n' + b"broken\n" * bad, lenient=True)
    ended = await world.report(task, 200)
    assert (ended.docs, ended.rejected) == (2, bad)
    assert ended.reason is (Reason.GATE_FAILED if is_kept_out else Reason.REPORTED)
    assert set(await world.shown(crawler.stream)) == (set() if is_kept_out else {"a", "b"})
    if is_kept_out:
        value = bad if most >= 1 else bad / (2 + bad)
        assert ended.detail["gates"] == [{"gate": "max_rejected", "limit": most, "value": value}]


@pytest.mark.parametrize("merged", [False, True])
async def test_a_replay_into_a_run_that_is_kept_out_shows_when_that_is_published_by_hand(world, publish, merged):
    crawler = await _crawler(world, publish)
    await world.done(crawler, [{"id": name, "of": "older"} for name in "abc"])
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "n": 1}, {"id": "b", "n": "x"}], lenient=True)
    await world.upload(task, [{"id": "c", "n": 2}, {"id": "d", "n": "x"}], lenient=True)
    await world.upload(task, [{"id": "d", "n": 3}], lenient=True)
    if merged:
        await world.compaction.merge(await world.db.read(segments.in_place, task.fid, 1), is_last=False)
    assert (await world.report(task, 200)).reason is Reason.GATE_FAILED
    await world.done(crawler, [{"id": "c", "of": "newer"}])
    before = await versions_of(world, crawler.stream)
    changes = await _log(world, crawler)
    await world.loosen(task)
    assert await world.replay(task) == Replayed(replayed=1, covered=1, rejected=0, version=None)
    assert await versions_of(world, crawler.stream) == before
    assert await _log(world, crawler) == changes
    assert [one.standing for one in await world.history(crawler.stream, "b")] == [
        "unpublished",
        "shown",
    ]

    await world.compact()
    assert await versions_of(world, crawler.stream) == before
    await world.publish(task)
    shown = {
        "a": {"id": "a", "n": 1},
        "b": {"id": "b", "n": "x"},
        "c": {"id": "c", "of": "newer"},
        "d": {"id": "d", "n": 3},
    }
    assert await world.shown(crawler.stream) == shown
    assert await world.task_diffs.counts(lambda tx: diffs.of_task(tx, task.fid)) == Counts(added=1, changed=3)
    await world.compact()
    assert await world.shown(crawler.stream) == shown
    assert (await versions_of(world, crawler.stream))[:-1] == before


async def test_a_run_of_which_all_was_rejected_is_published_once_it_is_replayed(world, publish):
    crawler = await _crawler(world, publish)
    task = await _withheld(world, crawler, [{"id": "a", "n": "x"}, {"id": "b", "n": []}])
    for allowed in ("string", ["string", "array"]):
        await world.loosen(task, schema={"properties": {"n": {"type": allowed}}})
        assert (await world.replay(task)).version is None
    assert await world.shown(crawler.stream) == {}
    await world.publish(task)
    assert set(await world.shown(crawler.stream)) == {"a", "b"}
    assert await _log(world, crawler) == [Change.PUBLISH]


async def test_what_is_replayed_before_and_after_a_run_is_let_in_shows_at_versions_of_its_own(world, publish):
    crawler = await _crawler(world, publish)
    task = await _withheld(world, crawler, [{"id": "a"}, *({"id": name, "n": name} for name in "bc")], [{"id": "d"}])
    await world.loosen(task, schema={"properties": {"n": {"const": "b"}}})
    await world.replay(task)
    await world.publish(task)
    await world.loosen(task)
    world.wait(hours=1)
    at_last = await world.replay(task)
    assert (at_last.replayed, at_last.version) == (1, (await world.stream(crawler.stream)).stream_version)
    written = {name: (await world.history(crawler.stream, name))[0].written_at for name in "abcd"}
    assert written["c"] == world.at
    assert all(written[name] <= world.at - timedelta(hours=1) for name in "abd")
    before = await versions_of(world, crawler.stream)
    await world.compact()
    [row] = [one for one in await rows_of(world, task) if one.removed_version is None]
    assert row.whole_version == at_last.version
    assert await versions_of(world, crawler.stream) == before
    assert set(await world.shown(crawler.stream, at_last.version - 1)) == {"a", "b", "d"}
    await world.document_erasure.erase(crawler.stream, "b")
    _, changes = await world.changes(crawler.stream, at_last.version - 1)
    assert [(one["id"], one["op"]) for one in changes] == [("c", "upsert"), ("b", "delete")]


async def test_what_is_replayed_into_a_run_that_is_kept_out_is_purged_with_the_rest_of_it(world, publish):
    crawler = await _crawler(world, publish)
    task = await _withheld(world, crawler, [{"id": "a"}, {"id": "b", "n": "x"}, {"id": "c", "n": []}])
    world.wait(days=1)
    await world.loosen(task, schema={"properties": {"n": {"type": "string"}}})
    await world.replay(task)
    await world.purge(before=task.ended_at)
    assert await rows_of(world, task) == []
    assert await world.rejects(task) == []
    await world.loosen(task)
    assert await world.replay(task) == Replayed(replayed=0, covered=0, rejected=1, version=None)
    with pytest.raises(TaskPurged):
        await world.publish(task)


async def test_what_former_attempts_rejected_is_forgotten_when_an_attempt_takes_its_place_and_not_before(
    world, publish
):
    crawler = await _crawler(world, publish, Gates(min_docs=2))
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}, {"id": "b", "n": "x"}], lenient=True)
    await world.report(task, 500)
    again = (await world.retry(task)).task
    await world.upload(again, [{"id": "a"}, {"id": "c", "n": "x"}], lenient=True)
    assert (await world.report(again, 200)).reason is Reason.GATE_FAILED
    assert [len(await world.rejects(task, attempt)) for attempt in (1, 2)] == [1, 1]
    await world.publish(task)
    assert [len(await world.rejects(task, attempt)) for attempt in (1, 2)] == [0, 1]


async def test_lines_are_tried_against_the_version_that_is_in_use_and_not_against_a_newer_one(world):
    crawler = await _crawler(world, gates=None)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "n": "x"}], lenient=True)
    await world.use_version(crawler, 1)
    await world.loosen(task)
    assert (await world.replay(task)).replayed == 0
    await world.use_version(crawler, 2)
    await world.loosen(task, schema=False)
    assert (await world.replay(task)).replayed == 1
    assert set(await world.shown(crawler.stream)) == {"a"}
