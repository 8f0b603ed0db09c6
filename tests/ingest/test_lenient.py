"""Uploads that keep aside what is no document."""

import asyncio
import gzip
import json

import pytest

from builders import World, an_external, body_of, ndjson
from headwater.catalog import rejects
from headwater.domain.errors import DocumentInvalid, DocumentTooLarge, KeyReused, TaskClosed, UploadBroken
from headwater.domain.reject import LONGEST_TEXT, MOST_REJECTS, RejectKind
from headwater.domain.task import Publish
from headwater.ingest import rejected_lines
from headwater.ingest.pipeline import Limits
from headwater.lifecycle import deletion

STRICT = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "n": {"type": "integer"}}}
MIXED = b'{"id":"a"}\n\nbroken\r\n[1]\n{"id":"b","n":"x"}\n{"id":"c","n":NaN}\n{"id":"d"}\n\xff\xfe\n'


async def _task(world, **crawler):
    return await world.task(await world.crawler(external=an_external(schema=STRICT), **crawler))


async def _at_end_of(world, task):
    return [
        json.loads(found.text)["id"] for found in (await world.reader.arrivals(task.fid, after=None, limit=99)).docs
    ]


@pytest.fixture(params=[True, False])
def _form(request, world):
    """Uploads as files, and inlined."""
    world.as_files = request.param


@pytest.mark.usefixtures("_form")
async def test_valid_documents_are_kept_and_the_others_listed_and_kept_aside(world):
    task = await _task(world)
    receipt = await world.upload(task, MIXED, lenient=True)
    assert (receipt.count, receipt.total, receipt.rejected, receipt.truncated) == (2, 2, 5, False)
    assert receipt.bytes == len(b'{"id":"a"}\n{"id":"d"}\n')
    assert [(flaw.line, flaw.offset) for flaw in receipt.flaws][:3] == [(3, 12), (4, 20), (5, 24)]
    assert set(await world.shown(task.stream)) == {"a", "d"}
    assert await _at_end_of(world, task) == ["a", "d"]
    now = await world.now(task)
    assert (now.docs, now.uploads, now.rejected) == (2, 1, 5)

    kept = await world.rejects(task)
    assert [reject.raw for reject in kept] == [
        b"broken",
        b"[1]",
        b'{"id":"b","n":"x"}',
        b'{"id":"c","n":NaN}',
        b"\xff\xfe",
    ]
    assert [reject.kind for reject in kept] == [
        RejectKind.BROKEN,
        RejectKind.INVALID,
        RejectKind.INVALID,
        RejectKind.BROKEN,
        RejectKind.BROKEN,
    ]
    assert [reject.doc_id for reject in kept] == [None, None, b"b", b"c", None]
    assert [reject.line for reject in kept] == [3, 4, 5, 6, 8]
    assert [MIXED[reject.offset :].startswith(reject.raw) for reject in kept] == [True] * 5
    assert [reject.arrived for reject in kept] == [1, 1, 1, 1, 2]
    assert {(reject.upload, reject.attempt, reject.at) for reject in kept} == {(1, 1, world.at)}
    assert kept[2].flaws[0].pointer == "/n"


async def test_without_lenience_the_same_upload_is_refused_whole(world):
    task = await _task(world)
    with pytest.raises(UploadBroken):
        await world.upload(task, MIXED)
    assert (await world.now(task)).rejected == 0
    assert await world.rejects(task) == []


@pytest.mark.usefixtures("_form")
async def test_an_upload_of_invalid_lines_alone_is_accepted_and_changes_nothing_that_shows(world):
    task = await _task(world)
    receipt = await world.upload(task, b"no\nnever\n", lenient=True)
    assert (receipt.count, receipt.total, receipt.rejected) == (0, 0, 2)
    assert (await world.stream(task.stream)).stream_version == 0
    now = await world.now(task)
    assert (now.uploads, now.rejected, now.heard_at) == (1, 2, world.at)


async def test_a_lenient_upload_without_faults_rejects_none(world):
    receipt = await world.upload(await _task(world), [{"id": "a"}], lenient=True)
    assert (receipt.count, receipt.rejected, receipt.flaws) == (1, 0, ())


async def test_places_in_the_attempt_have_no_gaps_where_lines_were_rejected(world):
    task = await _task(world)
    for n in range(3):
        docs = [{"id": f"{n}-{m}", "n": m if m % 3 else "x"} for m in range(9)]
        await world.upload(task, docs, lenient=True)
    await world.report(task, 200)
    before = [await world.shown(task.stream, version) for version in range(4)]
    await world.compact()
    assert [await world.shown(task.stream, version) for version in range(4)] == before
    assert [len(shown) for shown in before] == [0, 6, 12, 18]


async def test_limits_and_broken_encodings_stay_errors_of_the_upload(db, tmp_path):
    small = World(db, tmp_path, limits=Limits(upload=1000, document=100))
    task = await small.task()
    with pytest.raises(DocumentTooLarge, match="line 2"):
        await small.upload(task, b'{"id": "a"}\n' + b"x" * 101 + b"\n", lenient=True)
    with pytest.raises(UploadBroken, match="gzip"):
        await small.upload(task, gzip.compress(b"no\n" * 9)[:-4], encoding="gzip", lenient=True)
    assert (await small.now(task)).rejected == 0
    assert await small.rejects(task) == []
    small.close()


@pytest.mark.usefixtures("_form")
async def test_a_repeated_key_is_answered_with_rejects_and_errors_again_and_keeps_none_twice(world):
    task = await _task(world)
    first = await world.upload(task, MIXED, key="k", lenient=True)
    for options in ({"lenient": True}, {}):
        again = await world.upload(task, MIXED, key="k", **options)
        assert (again.rejected, again.flaws, again.count, again.replayed) == (5, first.flaws, 2, True)
    alone = await world.upload(task, b"no\n", key="l", lenient=True)
    assert (alone.rejected, alone.replayed) == (1, False)
    assert (await world.upload(task, b"no\n", key="l", lenient=True)).replayed
    with pytest.raises(KeyReused):
        await world.upload(task, b"other\n", key="l", lenient=True)
    assert len(await world.rejects(task)) == (await world.now(task)).rejected == 6


async def test_ten_thousand_lines_of_a_task_are_kept_and_the_rest_is_counted(world):
    task = await _task(world)
    receipt = await world.upload(task, b"x\n" * (MOST_REJECTS - 5), lenient=True)
    assert (receipt.rejected, len(receipt.flaws), receipt.truncated) == (MOST_REJECTS - 5, 100, True)
    await world.upload(task, b"y\n" * 20, lenient=True)
    kept = await world.rejects(task)
    assert (len(kept), (await world.now(task)).rejected) == (MOST_REJECTS, MOST_REJECTS + 15)
    assert [reject.raw for reject in kept[-6:]] == [b"x"] + [b"y"] * 5
    assert kept[-1].seq == MOST_REJECTS

    # Those of a former attempt make room.
    await world.report(task, 500)
    again = (await world.retry(task)).task
    await world.upload(again, b"z\n", lenient=True)
    assert [reject.raw for reject in await world.rejects(again)] == [b"z"]
    assert await world.rejects(again, attempt=1) == []


async def test_of_a_long_line_its_beginning_is_kept(world):
    task = await _task(world)
    line = b'{"id": "a", "n": "' + b"x" * (LONGEST_TEXT * 2)
    await world.upload(task, line + b'"}\n' + line + b"\n", lenient=True)
    invalid, broken = await world.rejects(task)
    assert (invalid.raw, invalid.size, invalid.is_whole) == (line[:LONGEST_TEXT], len(line) + 2, False)
    assert (broken.kind, broken.doc_id) == (RejectKind.BROKEN, b"a")


async def test_what_a_huge_bad_upload_rejects_is_not_held_in_memory(world):
    kept = rejected_lines.RejectedLines(world.store.staging)
    task = await _task(world)
    checker = await world.uploads._checker(task)  # noqa: SLF001 - as an upload does
    from headwater.ingest.lines import LineCutter  # noqa: PLC0415

    cutter = LineCutter(longest=1 << 20)
    most = 0
    for n in range(40):
        for block in cutter.feed((b'{"id": %d, "x": "' % n + b"y" * 60_000 + b'"}\n') * 20):
            await asyncio.to_thread(checker.ids, block, kept)
            most = max(most, kept.held)
    assert kept.count >= 700
    assert most <= 256 << 10
    assert sum(1 for _ in kept.each()) == sum(1 for _ in kept.each()) == kept.count
    kept.close()
    assert list(world.store.staging.iterdir()) == []


async def test_a_lenient_upload_to_what_is_closed_meanwhile_keeps_nothing_aside(world):
    task = await _task(world)
    arriving = asyncio.Event()

    async def body():
        yield b"broken\n"
        await arriving.wait()
        yield b'{"id": "b"}\n'

    uploading = asyncio.create_task(world.uploads.take(task, body(), lenient=True))
    await asyncio.sleep(0.05)
    await world.stop(task)
    arriving.set()
    with pytest.raises(TaskClosed):
        await uploading
    assert await world.rejects(task) == []


async def test_rejects_belong_to_an_attempt_and_go_when_a_later_one_ends_well(world):
    task = await _task(world)
    await world.upload(task, b"one\n", lenient=True)
    await world.report(task, 500)
    again = (await world.retry(task)).task
    assert again.rejected == 0
    await world.upload(again, b"two\n", lenient=True)
    assert [reject.raw for reject in await world.rejects(again)] == [b"two"]
    assert [reject.raw for reject in await world.rejects(again, attempt=1)] == [b"one"]
    await world.report(again, 200)
    assert [reject.raw for reject in await world.rejects(again)] == [b"two"]
    assert await world.rejects(again, attempt=1) == []


@pytest.mark.parametrize("publish", list(Publish))
async def test_rejects_of_a_deleted_task_are_there_when_it_is_restored_until_they_are_purged(world, publish):
    task = await _task(world, publish=publish)
    await world.upload(task, b"no\n", lenient=True)
    await world.report(task, 200)
    await world.delete(task)
    assert len(await world.rejects(task)) == 1
    world.wait(days=1)
    await world.retention.turn()
    await world.restore(task)
    assert len(await world.rejects(task)) == 1
    await world.delete(task)
    world.wait(days=31)
    await world.retention.turn()
    assert await world.rejects(task) == []


async def test_rejects_of_a_task_that_failed_before_it_was_published_are_purged_with_its_documents(world):
    task = await _task(world, publish=Publish.ON_SUCCESS)
    await world.upload(task, b'{"id": "a"}\nno\n', lenient=True)
    await world.report(task, 500)
    world.wait(days=29)
    await world.retention.turn()
    assert len(await world.rejects(task)) == 1
    world.wait(days=2)
    await world.retention.turn()
    assert await world.rejects(task) == []


async def test_rejects_of_a_task_that_is_there_are_not_purged(world):
    task = await _task(world)
    await world.upload(task, b"no\n", lenient=True)
    await world.report(task, 200)
    world.wait(days=100)
    await world.retention.turn()
    assert len(await world.rejects(task)) == 1


async def test_deleting_a_crawler_with_its_tasks_deletes_what_they_kept_aside(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, b"no\n", lenient=True)
    await deletion.delete_crawler(world.db, crawler.fid, cascade=True, expected=None, vault=world.vault, at=world.at)
    assert await world.db.read(rejects.page, task.fid, 1, after=0, limit=9) == []


async def test_the_strict_way_tells_at_most_a_hundred_faults(world):
    task = await _task(world)
    with pytest.raises(DocumentInvalid) as caught:
        await world.uploads.take(task, body_of(ndjson([{"id": str(n), "n": "x"} for n in range(150)])))
    assert (len(caught.value.flaws), caught.value.truncated) == (100, True)
