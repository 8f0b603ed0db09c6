"""Rejected lines, tried again."""

import json

import pytest

from builders import SANDBOX, World, an_external, ndjson
from change_set_builders import Between
from headwater.catalog import streams
from headwater.domain.errors import MovedMeanwhile, NotFound, TaskRemoved
from headwater.domain.reject import LONGEST_TEXT
from headwater.domain.stream import Change, Counts
from headwater.domain.task import Publish
from headwater.ingest.replay import Replayed, Replays
from headwater.streams.counters import DocumentCounter
from headwater.streams.history import Standing
from headwater.streams.views import NOW

STRICT = {"type": "object", "properties": {"n": {"type": "integer"}}}


async def _crawler(world, **fields):
    return await world.crawler(external=an_external(schema=STRICT), **fields)


async def _log(world, stream):
    return [(entry.change, entry.docs) for entry in await world.db.read(streams.log, stream, before=None, limit=99)]


@pytest.fixture(params=[True, False])
def _form(request, world):
    """Uploads as files, and inlined."""
    world.as_files = request.param


@pytest.mark.usefixtures("_form")
async def test_what_passes_now_joins_its_task_and_the_rest_stays(world):
    crawler = await _crawler(world)
    task = await world.task(crawler)
    await world.upload(task, b'{"id":"a"}\n{"id":"b","n":"x"}\nbroken\n{"id":"c","n":"y"}\n', lenient=True)
    assert await world.replay(task) == Replayed(replayed=0, covered=0, rejected=3, version=None)
    await world.loosen(task)
    assert await world.replay(task) == Replayed(replayed=2, covered=0, rejected=1, version=2)
    assert await world.shown(crawler.stream) == {
        "a": {"id": "a"},
        "b": {"id": "b", "n": "x"},
        "c": {"id": "c", "n": "y"},
    }
    assert await world.shown(crawler.stream, 1) == {"a": {"id": "a"}}
    assert [reject.raw for reject in await world.rejects(task)] == [b"broken"]
    now = await world.now(task)
    assert (now.docs, now.rejected, now.uploads) == (3, 1, 1)
    assert now.bytes == sum(len(line) for line in (await world.export(crawler.stream)).splitlines(keepends=True))
    assert await _log(world, crawler.stream) == [(Change.REPLAY, 2), (Change.UPLOAD, 1)]
    await world.upload(task, [{"id": "d"}])
    page = await world.reader.arrivals(task.fid, after=None, limit=9)
    assert [json.loads(found.text)["id"] for found in page.docs] == ["a", "b", "c", "d"]


async def test_what_is_wrong_with_a_line_that_still_does_not_pass_is_told_as_of_now(world):
    task = await world.task(await _crawler(world))
    await world.upload(task, b'{"id":"b","n":"x"}\n', lenient=True)
    await world.loosen(task, schema={"required": ["price"]})
    await world.replay(task)
    [reject] = await world.rejects(task)
    [flaw] = reject.flaws
    assert (flaw.keyword, flaw.line, flaw.doc_id) == ("required", 1, "b")


async def test_the_id_is_taken_from_the_field_that_the_external_names_now(world):
    crawler = await _crawler(world)
    task = await world.task(crawler)
    await world.upload(task, b'{"id":"b","sku":"s","n":"x"}\n', lenient=True)
    await world.loosen(task, doc_id_field="sku")
    await world.replay(task)
    assert (await world.reader.page(crawler.stream, NOW, after=None, limit=9)).docs[0].id == "s"


@pytest.mark.usefixtures("_form")
@pytest.mark.parametrize("merged", [False, True])
async def test_a_replayed_document_covers_what_came_before_it_in_its_task_and_not_what_came_after(world, merged):
    crawler = await _crawler(world)
    older = await world.done(crawler, [{"id": name, "of": "older"} for name in "abcd"])
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "of": "first"}, {"id": "b", "n": "rejected"}], lenient=True)
    await world.upload(task, [{"id": "a", "n": "rejected"}, {"id": "b", "of": "second"}], lenient=True)
    await world.upload(task, [{"id": "c", "n": "rejected"}, {"id": "d", "n": "rejected"}], lenient=True)
    await world.report(task, 200)
    newer = await world.done(crawler, [{"id": "d", "of": "newer"}])
    if merged:
        await world.compact()
    await world.loosen(task)
    assert await world.replay(task) == Replayed(replayed=3, covered=1, rejected=0, version=5)
    expected = {
        "a": {"id": "a", "n": "rejected"},
        "b": {"id": "b", "of": "second"},
        "c": {"id": "c", "n": "rejected"},
        "d": {"id": "d", "of": "newer"},
    }
    assert await world.shown(crawler.stream) == expected
    await world.compact()
    assert await world.shown(crawler.stream) == expected
    await world.delete(newer)
    assert (await world.shown(crawler.stream))["d"] == {"id": "d", "n": "rejected"}
    await world.delete(task)
    assert {doc["of"] for doc in (await world.shown(crawler.stream)).values()} == {"older"}
    await world.restore(task)
    await world.restore(newer)
    assert await world.shown(crawler.stream) == expected
    assert await world.shown(crawler.stream, without=[older.fid]) == expected


async def test_tasks_of_which_all_was_rejected_are_replayed_in_their_order_whichever_comes_first(world):
    for order in ((0, 1), (1, 0)):
        crawler = await _crawler(world)
        tasks = []
        for n in range(2):
            task = await world.task(crawler)
            await world.upload(task, [{"id": "a", "n": f"of {n}"}, {"id": str(n), "n": "x"}], lenient=True)
            tasks.append(await world.report(task, 200))
        last = await world.done(crawler, [{"id": "1", "of": "last"}])
        await world.loosen(crawler)
        for n in order:
            await world.replay(tasks[n])
        assert await world.shown(crawler.stream) == {
            "a": {"id": "a", "n": "of 1"},
            "0": {"id": "0", "n": "x"},
            "1": {"id": "1", "of": "last"},
        }
        assert (await world.shown(crawler.stream, without=[last.fid]))["1"] == {"id": "1", "n": "x"}


async def test_of_a_document_that_was_rejected_twice_the_last_shows(world):
    crawler = await _crawler(world)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "n": "one"}, {"id": "a", "n": "two"}], lenient=True)
    await world.loosen(task)
    assert (await world.replay(task)).replayed == 2
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "n": "two"}}


async def test_lines_that_pass_one_after_the_other_lie_in_the_order_in_which_they_came(world):
    for order in (("one", "two"), ("two", "one")):
        crawler = await _crawler(world)
        task = await world.task(crawler)
        await world.upload(task, [{"id": "a", "n": "one"}, {"id": "a", "n": "two"}], lenient=True)
        for name in order:
            await world.loosen(task, schema={"properties": {"n": {"const": name}}})
            await world.replay(task)
        assert await world.shown(crawler.stream) == {"a": {"id": "a", "n": "two"}}
        assert await world.rejects(task) == []


@pytest.mark.parametrize("code", [200, 500, None])
async def test_documents_that_wait_for_success_are_not_shown_by_a_replay(world, code):
    crawler = await _crawler(world, publish=Publish.ON_SUCCESS)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}, {"id": "b", "n": "x"}], lenient=True)
    await world.loosen(task)
    if code is not None:
        await world.report(task, code)
    done = await world.replay(task)
    if code == 200:
        assert done.version == 2
        assert set(await world.shown(crawler.stream)) == {"a", "b"}
        assert set(await world.shown(crawler.stream, 1)) == {"a"}
        await world.compact()
        assert set(await world.shown(crawler.stream, 1)) == {"a"}
        versions = await world.history(crawler.stream, "a")
        assert [version.standing for version in versions] == [Standing.SHOWN]
    else:
        assert (done.replayed, done.version) == (1, None)
        assert await world.shown(crawler.stream) == {}
    if code is None:
        await world.report(task, 200)
        assert set(await world.shown(crawler.stream)) == {"a", "b"}


async def test_a_document_that_was_erased_after_a_replay_had_shown_since_its_publication(world):
    crawler = await _crawler(world, publish=Publish.ON_SUCCESS)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}, {"id": "b", "n": "x"}], lenient=True)
    await world.report(task, 200)
    await world.loosen(task)
    await world.replay(task)
    await world.compact()
    await world.document_erasure.erase(crawler.stream, "a")
    _, changes = await world.changes(crawler.stream, 1)
    assert [(change["id"], change["op"]) for change in changes] == [("b", "upsert"), ("a", "delete")]


async def test_the_summary_counts_what_was_replayed_as_if_nothing_newer_had_come(world):
    crawler = await _crawler(world)
    counter = DocumentCounter(world.db, world.engine)
    await world.done(crawler, [{"id": "a", "v": 1}])
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "v": 2}, {"id": "b", "n": "x"}, {"id": "c"}], lenient=True)
    await world.report(task, 200)
    await world.done(crawler, [{"id": "a", "v": 3}, {"id": "b"}])
    await counter.turn()
    assert (await world.now(task)).summary == Counts(added=1, changed=1)
    await world.loosen(task)
    await world.replay(task)
    assert (await world.now(task)).summary is None
    await counter.turn()
    assert (await world.now(task)).summary == Counts(added=2, changed=1)
    assert (await world.stream(crawler.stream)).docs == 3


async def test_the_summary_of_a_retry_still_tells_what_it_replaced_after_a_replay(world):
    crawler = await _crawler(world)
    counter = DocumentCounter(world.db, world.engine)
    task = await world.done(crawler, [{"id": "a"}, {"id": "gone"}])
    again = (await world.retry(task)).task
    await world.upload(again, [{"id": "a", "v": 2}, {"id": "b", "n": "x"}], lenient=True)
    await world.report(again, 200)
    await world.loosen(task)
    await world.replay(again)
    await counter.turn()
    assert (await world.now(task)).summary == Counts(added=1, changed=1, removed=1)
    # Where what it replaced is purged, the counts remain as they were.
    await world.purge()
    assert await counter.turn() == 0


async def test_a_deleted_task_is_restored_before_it_is_replayed(world):
    task = await world.task(await _crawler(world))
    await world.upload(task, b'{"id":"a","n":"x"}\n', lenient=True)
    await world.loosen(task)
    await world.delete(task)
    with pytest.raises(TaskRemoved, match="restore it before you replay"):
        await world.replay(task)
    await world.restore(task)
    assert (await world.replay(task)).replayed == 1
    with pytest.raises(NotFound):
        await world.replays.replay("0" * 32)


async def test_only_what_the_present_attempt_rejected_is_replayed(world):
    crawler = await _crawler(world)
    task = await world.task(crawler)
    await world.upload(task, b'{"id":"a","n":"x"}\n', lenient=True)
    await world.report(task, 500)
    await world.loosen(task)
    again = (await world.retry(task)).task
    assert (await world.replay(again)).replayed == 0
    assert len(await world.rejects(again, attempt=1)) == 1


async def test_lines_of_which_only_the_beginning_is_kept_stay(world):
    task = await world.task(await _crawler(world))
    await world.upload(task, [{"id": "a", "n": "x" * LONGEST_TEXT}], lenient=True)
    await world.loosen(task)
    assert await world.replay(task) == Replayed(replayed=0, covered=0, rejected=1, version=None)


def _replays(world, db) -> Replays:
    return Replays(db, world.engine, world.store, most_inlined=0, clock=world.clock, sandbox=SANDBOX)


@pytest.mark.usefixtures("_form")
async def test_an_upload_that_comes_during_a_replay_covers_what_is_replayed(world):
    crawler = await _crawler(world)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "n": "x"}, {"id": "b", "n": "x"}], lenient=True)
    await world.loosen(task)

    async def upload():
        await world.upload(task, [{"id": "a", "n": 1}])

    between = Between(world.db, write=upload, named="_join")
    done = await _replays(world, between).replay(task.fid)
    assert (done.replayed, done.covered) == (1, 1)
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "n": 1}, "b": {"id": "b", "n": "x"}}
    files = list(world.store.root.rglob("*.parquet"))
    assert len(files) == 1 + bool(world.as_files)


async def test_where_uploads_come_in_faster_than_a_replay_it_gives_up_and_changes_nothing(world):
    task = await world.task(await _crawler(world))
    await world.upload(task, [{"id": "a", "n": "x"}], lenient=True)
    await world.loosen(task)

    async def upload():
        await world.upload(task, [{"id": "b"}])

    with pytest.raises(MovedMeanwhile, match="too fast"):
        await _replays(world, Between(world.db, write=upload, named="_join", times=99)).replay(task.fid)
    assert len(await world.rejects(task)) == 1


@pytest.mark.parametrize("happens", ["replay", "erase", "delete", "compact"])
async def test_what_else_happens_during_a_replay_is_not_undone_by_it(world, happens):
    crawler = await _crawler(world)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "z"}, {"id": "a", "n": "x"}, {"id": "b", "n": "x"}], lenient=True)
    await world.report(task, 200)
    await world.done(crawler, [{"id": "y"}])
    await world.loosen(task)

    async def come_in():
        match happens:
            case "replay":
                await world.replay(task)
            case "erase":
                await world.document_erasure.erase(crawler.stream, "a")
            case "delete":
                await world.delete(task)
            case "compact":
                await world.compact()

    replays = _replays(world, Between(world.db, write=come_in, named="_join"))
    if happens == "delete":
        with pytest.raises(TaskRemoved):
            await replays.replay(task.fid)
        assert len(await world.rejects(task)) == 2
        return
    done = await replays.replay(task.fid)
    assert done.replayed == {"replay": 0, "erase": 1, "compact": 2}[happens]
    assert set(await world.shown(crawler.stream)) == {"z", "b", "y"} | ({"a"} if happens != "erase" else set())
    assert (await world.now(task)).rejected == 0


async def test_a_merge_that_read_the_order_before_a_replay_made_room_in_it_begins_anew(world):
    crawler = await _crawler(world)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "n": "x"}], lenient=True)
    await world.report(task, 200)
    newer = await world.task(crawler)
    for v in range(2):
        await world.upload(newer, [{"id": "a", "n": v}])
    await world.report(newer, 200)
    await world.loosen(task)

    async def replay():
        await world.replay(task)

    world.compaction._db = Between(world.db, write=replay, named="_exchange")  # noqa: SLF001 - it comes in between
    await world.compact()
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "n": 1}}
    await world.compact()
    assert await world.shown(crawler.stream) == {"a": {"id": "a", "n": 1}}


async def test_many_lines_of_which_some_pass_are_replayed_in_order(db, tmp_path):
    world = World(db, tmp_path)
    crawler = await _crawler(world)
    task = await world.task(crawler)
    docs = [{"id": str(n % 700), "n": "x" if n % 2 else n / 3} for n in range(1000)]
    receipt = await world.upload(task, ndjson(docs), lenient=True)
    await world.loosen(task, schema={"properties": {"n": {"type": ["integer", "string"]}}})
    done = await world.replay(task)
    assert done.replayed + done.covered == sum(doc["n"] == "x" for doc in docs)
    assert done.rejected == receipt.rejected - done.replayed - done.covered == len(await world.rejects(task))
    world.close()
