import json

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from builders import World
from change_set_builders import rows_of, telling
from headwater.catalog import segment_tables, tables
from headwater.domain.errors import MovedMeanwhile
from headwater.lake.segment_format import FIELD_IDS
from headwater.streams.folding import Folding, Tiers, to_fold
from lakes import content_of, needs_directory, paths_in


def doc(number: int, value: object) -> dict:
    return {"id": f"sku-{number:03}", "v": value}


async def runs(world: World, count: int, *, docs: int = 6):
    """A crawler, and runs that each write the same documents with another value."""
    crawler = await world.crawler()
    return crawler, [await world.done(crawler, [doc(n, run) for n in range(docs)]) for run in range(count)]


async def paths(world: World) -> list[str]:
    """The paths that segments name."""
    return await world.db.read(lambda tx: sorted(tx.execute(select(tables.segments.c.path).distinct()).scalars()))


def folded(world: World) -> list[str]:
    return [path for path in paths_in(world.store) if "/folded/" in path]


async def test_the_runs_of_a_stream_come_to_lie_in_one_file(world):
    crawler, tasks = await runs(world, 5)
    before = await world.shown(crawler.stream)
    assert await world.fold() == 1
    [path] = await paths(world)
    assert folded(world) == [path]
    assert await world.shown(crawler.stream) == before
    assert [[row.part > 0 for row in await rows_of(world, task)] for task in tasks] == [[True]] * 5
    assert await world.fold() == 0


async def test_a_folded_file_has_the_columns_of_the_format_in_the_order_of_ids_and_layers(world):
    await runs(world, 3)
    await world.fold()
    [path] = folded(world)
    file = pq.read_table(world.store.locate(path))
    assert file.column_names == ["doc_id", "task", "doc", "pos", "part", "text_hash"]
    assert {field.name: int(field.metadata[b"PARQUET:field_id"]) for field in file.schema} == FIELD_IDS
    rows = file.to_pylist()
    assert [(row["doc_id"], json.loads(row["doc"])["v"]) for row in rows] == [
        (f"sku-{number:03}", run) for number in range(6) for run in range(3)
    ]
    metadata = pq.read_metadata(world.store.locate(path)).metadata
    assert metadata[b"headwater.format"] == b"2"
    assert b"headwater.task" not in metadata


async def test_a_run_is_deleted_and_restored_wherever_its_documents_lie(world):
    crawler, tasks = await runs(world, 3)
    await world.fold()
    await world.delete(tasks[2])
    assert await world.shown(crawler.stream) == {f"sku-{n:03}": doc(n, 1) for n in range(6)}
    await world.delete(tasks[1])
    assert await world.shown(crawler.stream) == {f"sku-{n:03}": doc(n, 0) for n in range(6)}
    late = await world.done(crawler, [doc(0, "late")])
    await world.fold()
    await world.restore(tasks[2])
    await world.fold()
    await world.delete(late)
    assert await world.shown(crawler.stream) == {f"sku-{n:03}": doc(n, 2) for n in range(6)}


async def test_of_several_uploads_of_one_run_only_what_showed_is_kept(world):
    crawler = await world.crawler(publish="on_success")
    task = await world.task(crawler)
    for value in range(3):
        await world.upload(task, [doc(0, value), doc(1, value), doc(1, f"{value} again")])
    await world.report(task, 200)
    await world.done(crawler, [doc(2, 0)])
    await world.fold()
    [row] = await rows_of(world, task)
    assert row.docs == 2
    assert await world.shown(crawler.stream) == {
        "sku-000": doc(0, 2),
        "sku-001": doc(1, "2 again"),
        "sku-002": doc(2, 0),
    }


async def test_former_versions_of_a_run_that_came_bit_by_bit_are_still_told(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    showed = []
    for value in range(3):
        await world.upload(task, [doc(value % 2, value)])
        showed.append(await world.shown(crawler.stream))
    await world.report(task, 200)
    await world.done(crawler, [doc(5, 5)])
    await world.fold()
    assert len(await rows_of(world, task)) == 1
    assert [await world.shown(crawler.stream, version) for version in (1, 2, 3)] == showed


async def test_tiers_keep_files_few_and_rewrite_each_document_a_few_times(world):
    crawler = await world.crawler()
    size = len(json.dumps(doc(0, 0)).encode())
    tiers = Tiers(unit=2 * size * 4, fanout=4)
    folding = Folding(world.db, world.engine, world.store, clock=world.clock, tiers=tiers)
    rewritten = 0
    for run in range(64):
        await world.done(crawler, [doc(n, run) for n in range(4)])
        while await world.lazy_compaction.turn():
            pass
        while True:
            table = await world.db.read(segment_tables.table_of, crawler.stream)
            rewritten += sum(file.docs for one in to_fold(table, tiers) for file in one.files)
            if not await folding.turn():
                break
    files = (await world.db.read(segment_tables.table_of, crawler.stream)).files
    assert len(files) <= 3 * 4
    assert rewritten <= 64 * 4 * 4
    assert await world.shown(crawler.stream) == {f"sku-{n:03}": doc(n, 63) for n in range(4)}


async def test_what_is_as_large_as_a_file_may_get_is_left(world):
    crawler, _ = await runs(world, 4)
    table = await world.db.read(segment_tables.table_of, crawler.stream)
    largest = max(file.bytes for file in table.files)
    assert to_fold(table, Tiers(unit=1 << 30, fanout=2, most_bytes=largest)) == []


async def test_the_documents_of_an_open_run_are_left(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    for value in range(4):
        await world.upload(task, [doc(0, value)])
    assert await world.fold() == 0
    assert {row.part for row in await rows_of(world, task)} == {0}


async def test_an_unchanged_version_takes_next_to_nothing(world):
    pad = "".join(chr(97 + (n * n * 7919) % 26) for n in range(400))

    async def size_of(values) -> int:
        crawler = await world.crawler()
        for value in values:
            await world.done(crawler, [{"id": f"{n:04}", "v": f"{value}{pad[n % 100 :]}{n}"} for n in range(300)])
        before = set(folded(world))
        await world.fold()
        [path] = set(folded(world)) - before
        return len(content_of(world.store, path))

    once_changed, never_changed = await size_of([1, 2]), await size_of([1] * 22)
    text = len(pad)
    assert (never_changed - once_changed) / (20 * 300) < 0.05 * text


async def _erased(world, crawler, _tasks):
    await world.document_erasure.erase(crawler.stream, "sku-001")


async def _purged(world, _crawler, tasks):
    await world.delete(tasks[0])
    await world.purge()


async def _deleted(world, _crawler, tasks):
    await world.delete(tasks[0])


async def _restored(world, _crawler, tasks):
    await world.delete(tasks[0])
    await world.restore(tasks[0])


async def _retried(world, _crawler, tasks):
    again = await world.retry(tasks[0])
    await world.upload(again.task, [doc(0, "retried")])
    await world.report(again.task, 200)


@pytest.mark.parametrize("happens", [_erased, _purged, _deleted, _restored, _retried])
async def test_whatever_happens_while_a_stream_is_folded_stands(world, happens, monkeypatch):
    """Between the writing of the file and its naming."""
    crawler, tasks = await runs(world, 3)
    write = world.db.write

    async def written(action, *args, **kwargs):
        if action.__name__ == "_move":
            monkeypatch.undo()
            await happens(world, crawler, tasks)
        return await write(action, *args, **kwargs)

    while await world.lazy_compaction.turn():
        pass
    monkeypatch.setattr(world.db, "write", written)
    await world.folding.turn()
    monkeypatch.undo()
    expected = await world.shown(crawler.stream)
    history = await world.history(crawler.stream, "sku-000")
    for _ in range(3):
        await world.fold()
    assert await world.shown(crawler.stream) == expected
    assert [version.text for version in await world.history(crawler.stream, "sku-000")] == [
        version.text for version in history
    ]
    if happens is _erased:
        await world.retention.delete_garbage(at=world.at.replace(year=world.at.year + 1))
        assert telling(world, "sku-001") == []


async def test_rows_move_in_small_transactions_and_readers_see_the_same_in_between(world, monkeypatch):
    crawler, _ = await runs(world, 6)
    expected = await world.shown(crawler.stream)
    monkeypatch.setattr("headwater.streams.folding.MOST_MOVED", 2)
    write = world.db.write
    seen = []

    async def written(action, *args, **kwargs):
        answer = await write(action, *args, **kwargs)
        seen.append(await world.shown(crawler.stream))
        return answer

    monkeypatch.setattr(world.db, "write", written)
    assert await world.fold() == 1
    assert len(seen) >= 4
    assert all(one == expected for one in seen)
    assert len(await paths(world)) == 1


async def test_a_fold_that_is_broken_off_in_the_middle_goes_on_later(world, monkeypatch):
    crawler, _ = await runs(world, 6)
    expected = await world.shown(crawler.stream)
    monkeypatch.setattr("headwater.streams.folding.MOST_MOVED", 2)
    write, written = world.db.write, 0

    async def broken(action, *args, **kwargs):
        nonlocal written
        written += action.__name__ == "_move"
        if written == 2:
            raise MovedMeanwhile("as after a kill")
        return await write(action, *args, **kwargs)

    monkeypatch.setattr(world.db, "write", broken)
    await world.fold()
    assert len(await paths(world)) > 1
    assert await world.shown(crawler.stream) == expected
    monkeypatch.undo()
    while await world.fold():
        pass
    assert len(await paths(world)) == 1
    assert await world.shown(crawler.stream) == expected


@needs_directory
async def test_a_damaged_file_is_left_out_and_the_others_are_folded(world):
    crawler, tasks = await runs(world, 4)
    world.as_files = True
    damaged = await world.done(crawler, [doc(9, 9)])
    while await world.lazy_compaction.turn():
        pass
    [row] = await rows_of(world, damaged)
    file = world.store.root / row.path
    file.write_bytes(file.read_bytes()[:-1] + b"X")
    await world.fold()
    await world.db.write(
        lambda tx: tx.execute(
            tables.segments.update().where(tables.segments.c.path == row.path).values(damaged_at=world.at)
        )
    )
    await world.db.write(
        lambda tx: tx.execute(
            tables.streams.update().values(layout=tables.streams.c.layout + 1, layout_reset=tables.streams.c.layout + 1)
        )
    )
    world.wait(hours=2)
    assert await world.fold() == 1
    assert [(await rows_of(world, task))[0].part > 0 for task in (*tasks, damaged)] == [True] * 4 + [False]
