import asyncio
import json
import os
import random
import shutil
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update
from structlog.testing import capture_logs

from budget import examples
from builders import World
from change_set_builders import rows_of
from headwater.catalog import inlined_segments, segments, tables
from headwater.catalog.core.database import Database
from headwater.domain.errors import NotFound, SegmentDamaged, Unavailable
from headwater.lake.diff import Operation
from headwater.lake.engine import Engine
from headwater.lake.inlined import Inlined
from headwater.lake.integrity import Skipped, Verifier
from headwater.streams import diffs
from headwater.streams.backoff import FIRST, Backoff
from headwater.streams.counters import DocumentCounter
from headwater.streams.damage import DamageReports
from headwater.streams.documents import DocumentReader
from headwater.streams.export import ExportFormat, pieces
from headwater.streams.views import NOW
from lake_builders import flip
from lakes import needs_directory

#: Bits that are flipped; set the variable to 10000 for the thorough run.
FLIPS = int(os.environ.get("BIT_FLIPS", examples(75)))


@pytest.fixture(params=[True, False], ids=["a file", "inlined"])
def is_file(request, world):
    world.as_files = request.param
    return request.param


def docs(count, **fields):
    return [{"id": f"{number:02}", **fields} for number in range(count)]


async def a_damaged_run(world, is_file):
    """A crawler with three runs, and the segment of the second, which is damaged."""
    crawler = await world.crawler()
    runs = [await world.done(crawler, docs(3 + number, run=number)) for number in range(3)]
    [segment] = await rows_of(world, runs[1])
    await damage(world, segment, is_file)
    return crawler, runs, segment


async def damage(world, segment, is_file):
    if is_file:
        flip(Path(world.store.locate(segment.path)), 8 * 300)
        return

    def flip_row(tx):
        where = tables.inlined.c.path == segment.path
        data = bytearray(tx.execute(select(tables.inlined.c.packed).where(where)).scalar_one())
        data[-3] ^= 4
        tx.execute(update(tables.inlined).where(where).values(packed=bytes(data)))

    await world.db.write(flip_row)


def reads(world, crawler, runs):
    """All ways to read a stream, by name: each takes ``skipped``."""
    stream = crawler.stream
    doing = partial(diffs.of_task, fid=runs[1].fid)

    async def export(**how):
        documents = await world.reader.documents(stream, NOW, **how)
        file = await pieces(world.reader, world.engine, documents, ExportFormat.NDJSON)
        return b"".join([piece async for piece in file])

    async def changes(**how):
        found = await world.change_feed.since(stream, 0, NOW, limit=None, **how)
        return b"".join([piece async for piece in found.lines])

    return {
        "a page": lambda **how: world.reader.page(stream, NOW, after=None, limit=10, **how),
        "one document": lambda **how: world.reader.one(stream, NOW, "00", **how),
        "an export": export,
        "changes": changes,
        "a diff": lambda **how: world.task_diffs.counts(doing, **how),
        "documents of a diff": lambda **how: world.task_diffs.page(
            doing, Operation.CHANGED, after=None, limit=5, **how
        ),
        "a history": lambda **how: world.history(stream, "00", **how),
        "arrivals": lambda **how: world.reader.arrivals(runs[1].fid, after=None, limit=5, **how),
    }


@needs_directory
async def test_every_way_to_read_names_what_is_damaged_and_can_leave_it_out(world, is_file):
    crawler, runs, segment = await a_damaged_run(world, is_file)
    for name, read in reads(world, crawler, runs).items():
        with pytest.raises(SegmentDamaged) as raised:
            await read()
        assert raised.value.members == {"segment": segment.fid, "task": runs[1].fid}, name
        skipped = Skipped()
        await read(skipped=skipped)
        assert [one.fid for one in skipped] == [segment.fid], name


@needs_directory
async def test_the_rest_shows_as_if_the_damaged_segment_were_not_there(world, is_file):
    crawler, runs, segment = await a_damaged_run(world, is_file)
    [last] = await rows_of(world, runs[2])
    await damage(world, last, is_file)
    page = await world.reader.page(crawler.stream, NOW, after=None, limit=10, skipped=Skipped())
    assert [(one.id, one.task) for one in page.docs] == [(f"{number:02}", runs[0].fid) for number in range(3)]
    assert (await world.reader.one(crawler.stream, NOW, "00", skipped=Skipped())).task == runs[0].fid
    with pytest.raises(NotFound, match=segment.fid):
        await world.reader.one(crawler.stream, NOW, "03", skipped=Skipped())
    versions = await world.history(crawler.stream, "00", skipped=Skipped())
    assert [version.task for version in versions] == [runs[0].fid]


async def test_what_is_intact_is_read_while_another_segment_is_damaged(world, is_file):
    crawler, runs, _ = await a_damaged_run(world, is_file)
    last = await world.reader.arrivals(runs[2].fid, after=None, limit=10)
    assert len(last.docs) == 5
    await world.delete(runs[1])
    assert set(await world.shown(crawler.stream)) == {f"{number:02}" for number in range(5)}


async def test_rows_that_the_catalog_has_lost_are_damaged_and_not_merged_meanwhile(world):
    world.as_files = False
    task = await world.done(await world.crawler(), docs(2))
    await world.db.write(lambda tx: tx.execute(delete(tables.inlined)))
    with pytest.raises(SegmentDamaged, match="missing"):
        await world.shown(task.stream)


def tries(logged):
    """The tasks that could not be merged, and after how many seconds each is tried again."""
    return [(line["task"], line["retry_in"]) for line in logged if line["event"] == "segments.not_merged"]


@needs_directory
async def test_compaction_writes_nothing_from_damage_and_does_not_try_it_again_and_again(world, is_file):
    crawler = await world.crawler()
    task = await world.task(crawler)
    for number in range(3):
        await world.upload(task, docs(2, n=number))
    await world.report(task, 200)
    before = await rows_of(world, task)
    await damage(world, before[1], is_file)
    other = await world.task(await world.crawler())
    for number in range(2):
        await world.upload(other, docs(2, n=number))
    await world.report(other, 200)
    with capture_logs() as logged:
        for _ in range(4):
            await world.compact()
        assert await rows_of(world, task) == before
        assert [row.is_compact for row in await rows_of(world, other)] == [True]
        assert tries(logged) == [(task.fid, FIRST)]
        world.wait(seconds=FIRST)
        await world.compact()
        world.wait(seconds=FIRST)
        await world.compact()
        assert tries(logged) == [(task.fid, FIRST), (task.fid, 2 * FIRST)]
    await damage(world, before[1], is_file)  # the same bit once more: as it was
    world.wait(seconds=FIRST)
    await world.compact()
    assert [row.is_compact for row in await rows_of(world, task)] == [True]


@needs_directory
async def test_a_stream_that_cannot_be_counted_does_not_keep_others_from_being_counted(world, is_file):
    now = [0.0]
    crawler, _, _ = await a_damaged_run(world, is_file)
    counter = DocumentCounter(world.db, world.engine, clock=lambda: now[0])
    task = await world.done(await world.crawler(), docs(4))
    while await counter.turn():
        pass
    assert (await world.stream(task.stream)).docs == 4
    assert (await world.stream(crawler.stream)).docs_version == 0
    assert await counter.turn() == 0


@needs_directory
async def test_erasing_writes_nothing_from_damage(world, is_file):
    crawler, runs, _ = await a_damaged_run(world, is_file)
    before = [await rows_of(world, run) for run in runs]
    with pytest.raises(SegmentDamaged):
        await world.document_erasure.erase(crawler.stream, "00")
    assert [await rows_of(world, run) for run in runs] == before


@needs_directory
async def test_what_was_found_is_recorded_and_is_over_once_it_is_repaired(world):
    world.as_files = True
    crawler, runs, segment = await a_damaged_run(world, is_file=True)
    reports = DamageReports(world.db, clock=world.clock)
    verifier = Verifier(world.store, on_damage=reports.found, on_repair=reports.repaired)
    engine = Engine(
        world.store, memory=500 << 20, spill=world.store.root.parent / "other", threads=1, verifier=verifier
    )
    try:
        reader = DocumentReader(world.db, engine)
        for _ in range(2):
            with pytest.raises(SegmentDamaged):
                await reader.one(crawler.stream, NOW, "00")
        await reports.settled()
        [row] = await rows_of(world, runs[1])
        assert row.damaged_at == world.at
        await damage(world, segment, is_file=True)
        await reader.one(crawler.stream, NOW, "00")
        await reports.settled()
        [row] = await rows_of(world, runs[1])
        assert row.damaged_at is None
    finally:
        engine.close()


async def test_a_damaged_segment_is_found_in_the_catalog_by_all_rows_that_name_its_file(world):
    world.as_files = True
    task = await world.done(await world.crawler(), docs(2))
    await world.delete(task)
    await world.restore(task)
    rows = await rows_of(world, task)
    await world.db.write(segments.mark_damaged, rows[0].path, world.at)
    assert {row.damaged_at for row in await rows_of(world, task)} == {world.at}
    world.wait(days=1)
    await world.db.write(segments.mark_damaged, rows[0].path, world.at)
    assert {row.damaged_at for row in await rows_of(world, task)} != {world.at}


def test_pauses_double_until_what_failed_succeeds():
    now = [0.0]
    backoff = Backoff(lambda: now[0])
    assert [backoff.failed("a") for _ in range(3)] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert backoff.waiting() == ["a"]
    now[0] = 4 * FIRST
    assert backoff.waiting() == []
    backoff.succeeded("a")
    assert backoff.failed("a") == FIRST
    assert max(backoff.failed("a") for _ in range(100)) == 6 * 3600


def a_damaged_copy(sound, file, rng):
    """Copy a file, with one bit flipped; return which."""
    bit = rng.randrange(sound.stat().st_size * 8)
    shutil.rmtree(file.parent, ignore_errors=True)
    file.parent.mkdir()
    shutil.copyfile(sound, file)
    flip(file, bit)
    return bit


async def page_of(file, store, stream):
    """What is answered with a catalog's file; None if it is an error."""
    db = Database(f"sqlite:///{file}")
    rows = Inlined(partial(db.read_blocking, inlined_segments.packed))
    engine = Engine(store, memory=300 << 20, spill=file.parent / "spill", threads=1, inlined=rows)
    try:
        return await DocumentReader(db, engine).page(stream, NOW, after=None, limit=100)
    except Exception:  # noqa: BLE001 - any error is better than another document
        return None
    finally:
        await asyncio.to_thread(engine.close)
        db.close()


async def test_no_flipped_bit_of_the_catalogs_file_is_answered_as_a_document(sqlite_url, tmp_path):
    """Each answer holds only texts that were uploaded, under their own ids, or it is an error."""
    db = Database(sqlite_url)
    world = World(db, tmp_path)
    world.as_files = False
    crawler = await world.crawler()
    texts = {}
    for number in range(6):
        docs = [{"id": f"{one:02}", "n": number, "pad": "x" * 60} for one in range(40)]
        await world.done(crawler, docs)
        texts |= {json.dumps(doc) + "\n": doc["id"] for doc in docs}
    world.close()
    db.close()
    sound, file = Path(sqlite_url.removeprefix("sqlite:///")), tmp_path / "damaged" / "catalog.sqlite"
    rng, answered, wrong = random.Random(14), 0, []
    for _ in range(FLIPS):
        bit = a_damaged_copy(sound, file, rng)
        page = await page_of(file, world.store, crawler.stream)
        if page is not None:
            answered += 1
            wrong += [(bit, found) for found in page.docs if texts.get(found.text) != found.id]
    assert wrong == []
    assert answered > 0


async def test_a_catalog_that_is_malformed_is_said_to_be_damaged(sqlite_url):
    for page in range(1, 40):
        flip(Path(sqlite_url.removeprefix("sqlite:///")), 8 * 4096 * page + 3)
    db = Database(sqlite_url)
    with pytest.raises(Unavailable, match="damaged"):
        await db.read(lambda tx: tx.execute(select(tables.segments)).all())
    db.close()
