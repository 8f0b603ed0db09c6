import asyncio
import gzip
import json
from dataclasses import replace

import pytest

from builders import World, an_external, body_of, ndjson
from headwater.catalog import objects, segments, streams
from headwater.catalog.objects import EXTERNALS
from headwater.domain.errors import (
    DocumentInvalid,
    DocumentTooLarge,
    EncodingUnknown,
    KeyReused,
    MovedMeanwhile,
    TaskClosed,
    TaskRemoved,
    UploadBroken,
    UploadInFlight,
    UploadTooLarge,
)
from headwater.domain.task import TaskState
from headwater.ingest.pipeline import Limits
from headwater.ingest.upload import Receipt
from headwater.streams.views import NOW
from lakes import needs_directory, paths_in


@pytest.fixture(autouse=True)
def _as_files(world):
    """What is told of files here is true of uploads that are files."""
    world.as_files = True


STRICT = {"type": "object", "required": ["id"], "properties": {"n": {"type": "integer"}}}


def _files(world):
    return paths_in(world.store)


async def test_an_upload_answers_what_it_took(world):
    task = await world.task()
    docs = [{"id": "a"}, {"id": "b"}]
    assert await world.upload(task, docs) == Receipt(count=2, total=2, bytes=len(ndjson(docs)))
    assert (await world.upload(task, [{"id": "c"}])).total == 3
    now = await world.now(task)
    assert (now.docs, now.uploads, now.state, now.code) == (3, 2, TaskState.RUNNING, 102)


async def test_the_last_of_one_id_wins_within_an_upload_and_across_uploads(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "v": 1}, {"id": "a", "v": 2}])
    assert (await world.shown(crawler.stream))["a"]["v"] == 2
    await world.upload(task, [{"id": "a", "v": 3}])
    assert (await world.shown(crawler.stream))["a"]["v"] == 3


async def test_an_upload_with_one_bad_document_leaves_nothing(world):
    crawler = await world.crawler(external=an_external(schema=STRICT, meta={"name": "Reviews"}))
    task = await world.task(crawler)
    with pytest.raises(DocumentInvalid, match="1 of 3 documents does not match the schema of External 'Reviews'"):
        await world.upload(task, [{"id": "a"}, {"id": "b", "n": "x"}, {"id": "c"}])
    assert _files(world) == []
    assert await world.now(task) == task
    assert await world.shown(crawler.stream) == {}


@pytest.mark.parametrize(
    ("body", "options", "error"),
    [
        (b'{"id": "a"}\n{"id": ', {}, UploadBroken),
        (b"\x1f\x8bnonsense", {"encoding": "gzip"}, UploadBroken),
        (gzip.compress(b'{"id": "a"}\n', mtime=0)[:-3], {"encoding": "gzip"}, UploadBroken),
        (b'{"id": "a"}', {"encoding": "br"}, EncodingUnknown),
        (b"[1]", {}, DocumentInvalid),
    ],
)
async def test_a_broken_body_is_refused_and_leaves_nothing(world, body, options, error):
    task = await world.task()
    with pytest.raises(error):
        await world.upload(task, body, **options)
    assert _files(world) == []
    assert (await world.now(task)).uploads == 0


async def test_limits_are_kept_and_named(db, tmp_path):
    small = World(db, tmp_path, limits=Limits(upload=1000, document=100))
    task = await small.task()
    with pytest.raises(UploadTooLarge, match="limit of 1000 bytes"):
        await small.upload(task, gzip.compress(ndjson([{"id": str(n)} for n in range(200)])), encoding="gzip")
    with pytest.raises(DocumentTooLarge, match="line 2 is over the limit of 100 bytes"):
        await small.upload(task, [{"id": "a"}, {"id": "x" * 100}])
    assert (await small.upload(task, [{"id": "a"}])).count == 1
    small.close()


async def test_an_empty_upload_is_fine_and_only_says_that_the_crawler_is_there(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    assert await world.upload(task, b"\n\r\n \n") == Receipt(count=0, total=0, bytes=0)
    assert (await world.now(task)).heard_at == world.at
    assert (await world.stream(crawler.stream)).stream_version == 0
    assert _files(world) == []


async def test_documents_are_checked_by_the_version_that_the_task_began_with(world):

    external = an_external(schema=STRICT)
    task = await world.task(await world.crawler(external=external))
    loose = replace(external, definition=replace(external.definition, schema=None), version=2)
    await world.db.write(objects.save, EXTERNALS, external, loose)
    with pytest.raises(DocumentInvalid):
        await world.upload(task, [{"id": "a", "n": "x"}])
    await world.report(task, 500)
    again = (await world.retry(task)).task
    assert again.external_version == 2
    assert (await world.upload(again, [{"id": "a", "n": "x"}])).count == 1


async def test_what_is_closed_or_deleted_takes_no_upload(world):
    task = await world.report(await world.task(), 200)
    with pytest.raises(TaskClosed):
        await world.upload(task, [{"id": "a"}])
    await world.delete(task)
    with pytest.raises(TaskRemoved):
        await world.upload(task, [{"id": "a"}])


@pytest.mark.parametrize(
    ("happens", "error"), [("delete", TaskRemoved), ("stop", TaskClosed), ("retry", MovedMeanwhile)]
)
async def test_an_upload_under_way_when_its_attempt_ends_leaves_nothing(world, happens, error):
    crawler = await world.crawler()
    task = await world.task(crawler)
    arriving = asyncio.Event()

    async def body():
        yield b'{"id": "a"}\n'
        await arriving.wait()
        yield b'{"id": "b"}\n'

    uploading = asyncio.create_task(world.uploads.take(task, body()))
    await asyncio.sleep(0.05)
    if happens == "retry":
        await world.report(task, 500)
        await world.retry(task)
    else:
        await getattr(world, happens)(task)
    arriving.set()
    with pytest.raises(error):
        await uploading
    assert _files(world) == []
    assert await world.shown(crawler.stream) == {}


async def test_an_upload_whose_client_goes_away_leaves_nothing(world):
    task = await world.task()

    async def body():
        yield ndjson([{"id": str(n), "x": "y" * 1000} for n in range(2000)])
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await world.uploads.take(task, body())
    assert _files(world) == []


async def test_data_arriving_in_a_long_upload_restarts_the_silence_timer(world):
    task = await world.task(await world.crawler(timeout=40))
    deadlines = []

    async def body():
        for n in range(4):
            world.wait(seconds=15)
            yield ndjson([{"id": f"{n}-{m}", "x": "y" * 1000} for m in range(300)])
            deadlines.append((await world.now(task)).deadline)

    await world.uploads.take(task, body())
    assert deadlines[-1] > task.deadline
    assert (await world.now(task)).heard_at == world.at


async def test_ten_uploads_at_once_are_ten_segments_with_right_totals_and_versions_without_gap(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    receipts = await asyncio.gather(
        *(world.uploads.take(task, body_of(ndjson([{"id": f"{n}-{m}"} for m in range(n + 1)]))) for n in range(10))
    )
    assert sorted(receipt.count for receipt in receipts) == list(range(1, 11))
    totals = sorted((receipt.total, receipt.count) for receipt in receipts)
    assert all(total - count == before for (total, count), (before, _) in zip(totals[1:], totals, strict=False))
    assert (await world.now(task)).docs == 55
    entries = await world.db.read(streams.log, crawler.stream, before=None, limit=100)
    assert [entry.version for entry in reversed(entries)] == list(range(1, 11))
    found = await world.db.read(segments.of_attempt, await world.now(task))
    assert len({segment.layer for segment in found}) == len(found) == 10
    assert len(await world.shown(crawler.stream)) == 55


async def test_a_repeated_key_with_the_same_body_is_answered_as_the_first_time(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    body = ndjson([{"id": "a"}, {"id": "b"}])
    first = await world.upload(task, body, key="k")
    await world.upload(task, [{"id": "c"}])
    again = await world.upload(task, gzip.compress(body), key="k", encoding="gzip")
    assert (again.count, again.total, again.bytes, again.replayed) == (2, 2, first.bytes, True)
    assert (await world.now(task)).docs == 3
    assert len(_files(world)) == 2


async def test_a_repeated_key_with_another_body_is_refused(world):
    task = await world.task()
    await world.upload(task, [{"id": "a"}], key="k")
    with pytest.raises(KeyReused):
        await world.upload(task, [{"id": "b"}], key="k")
    assert (await world.upload(task, [{"id": "b"}], key="l")).total == 2


async def test_a_key_belongs_to_one_attempt(world):
    task = await world.task()
    await world.upload(task, [{"id": "a"}], key="k")
    await world.report(task, 500)
    again = (await world.retry(task)).task
    receipt = await world.upload(again, [{"id": "a"}], key="k")
    assert (receipt.total, receipt.replayed) == (1, False)


async def test_a_key_whose_first_upload_is_under_way_is_refused_and_free_after_a_failure(world):
    task = await world.task()
    arriving = asyncio.Event()

    async def body():
        yield b'{"id": "a"}\n'
        await arriving.wait()
        yield b"broken\n"

    uploading = asyncio.create_task(world.uploads.take(task, body(), key="k"))
    await asyncio.sleep(0.05)
    with pytest.raises(UploadInFlight):
        await world.upload(task, [{"id": "a"}], key="k")
    arriving.set()
    with pytest.raises(UploadBroken):
        await uploading
    assert (await world.upload(task, [{"id": "a"}], key="k")).count == 1


@needs_directory
async def test_one_key_in_two_processes_stores_one_upload(db, tmp_path):
    here, there = World(db, tmp_path), World(db, tmp_path)
    task = await here.task()
    body = ndjson([{"id": "a"}])
    receipts = await asyncio.gather(*(w.uploads.take(task, body_of(body), key="k") for w in (here, there)))
    assert {(receipt.count, receipt.total) for receipt in receipts} == {(1, 1)}
    assert (await here.now(task)).docs == 1
    assert len(_files(here)) == 1
    here.close()
    there.close()


async def test_documents_without_an_id_get_one_from_their_content(world):
    crawler = await world.crawler(external=an_external(doc_id_field=None))
    task = await world.task(crawler)
    await world.upload(task, b'{"b": 1, "a": "x"}\n{ "a": "\\u0078", "b":1 }\n{"a": "y"}\n')
    page = await world.reader.page(crawler.stream, NOW, after=None, limit=10)
    assert len(page.docs) == 2
    assert all(found.id.startswith("sha256:") and len(found.id) == 71 for found in page.docs)
    assert {json.loads(found.text)["a"] for found in page.docs} == {"x", "y"}
