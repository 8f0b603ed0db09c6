"""The reader of plans, against what a stream exports."""

import json
import pickle
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from headwater.api.iceberg_access import warehouse
from headwater.api.routers.plan import PlanOut
from headwater.streams.plan import StreamPlans
from headwater.streams.views import NOW, View
from headwater_client.errors import HeadwaterError, PlanUnreadable
from headwater_client.models.results import Plan
from headwater_client.plan_reader import SCHEMA, Part, parts_of
from iceberg_history import exported, play
from lakes import needs_directory

pytestmark = needs_directory


async def planned(world, stream, view=NOW, *, ranges=5, age=0) -> list[Part]:
    """The parts of a plan that was made some hours ago, as another machine has them."""
    files = warehouse("local", world.store, None)
    expires_at = datetime.now(UTC) + timedelta(hours=1 - age)
    plan = await StreamPlans(world.db, world.engine, world.store).plan(stream, view)
    answered = PlanOut.of(plan, ranges=ranges, files=files, config={}, expires_at=expires_at).model_dump_json()
    return pickle.loads(pickle.dumps(parts_of(Plan.read(json.loads(answered)))))  # noqa: S301 - its own


def read(parts: list[Part]) -> list[tuple[str, ...]]:
    rows = [tuple(row.values()) for part in parts for batch in part.batches() for row in batch.cast(SCHEMA).to_pylist()]
    return sorted(rows, key=lambda row: row[0].encode())


@pytest.fixture
def small_row_groups(monkeypatch):
    for name in ("fold.FOLDED_ROW_GROUP_BYTES", "segment.LEAST_ROW_GROUP_BYTES"):
        monkeypatch.setattr(f"headwater.lake.{name}", 500)
    # Some of them at once.
    monkeypatch.setattr("headwater_client.plan_reader._REQUESTED", 3000)


@pytest.mark.usefixtures("small_row_groups")
@pytest.mark.parametrize("seed", range(400, 402))
async def test_after_any_history_the_parts_are_the_rows_of_the_export(world, seed):
    stream = await play(world, seed=seed)
    present = (await world.stream(stream)).stream_version
    tasks = sorted({row[1] for row in await exported(world, stream)})
    for version in range(present // 2, present + 1):
        for without in ([], tasks[:1], tasks[1:]):
            view = View(as_of=version, without=frozenset(without))
            for ranges in (1, 7, 1000):
                parts = await planned(world, stream, view, ranges=ranges)
                assert read(parts) == await exported(world, stream, version, without=without)


async def a_folded_stream(world) -> str:
    """A stream with a file of many row groups, and another one of two rows of it."""
    world.as_files = True
    crawler = await world.crawler()
    for start in range(0, 400, 100):
        await world.done(crawler, [{"id": f"{n:03}", "text": "x" * 40} for n in range(start, start + 100)])
    await world.fold()
    await world.done(crawler, [{"id": "007", "v": 2}, {"id": "250", "v": 2}])
    return crawler.stream


@pytest.mark.usefixtures("small_row_groups")
async def test_a_part_reads_only_row_groups_that_may_have_its_ids(world, monkeypatch):
    stream = await a_folded_stream(world)
    parts = await planned(world, stream, ranges=8)
    asked: list[list[int]] = []
    of_file = pq.ParquetFile.iter_batches

    def counted(file, **options):
        asked.append(options["row_groups"])
        return of_file(file, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    groups = max(pq.ParquetFile(file).num_row_groups for file in world.store.root.glob("streams/**/*.parquet"))
    assert groups > 16
    assert len(read(parts[3:4])) == 50
    assert 1 <= sum(map(len, asked)) <= groups // 4


async def test_only_columns_that_are_asked_for_are_read(world):
    stream = await a_folded_stream(world)
    [part] = await planned(world, stream, ranges=1)
    expected = await exported(world, stream)
    ids = part.table(["id"])
    assert sorted(ids.column("id").to_pylist()) == [row[0] for row in expected]
    assert ids.column_names == ["id"]
    both = part.table(["task", "id"])
    assert sorted(zip(*(both.column(name).to_pylist() for name in ("id", "task")), strict=True)) == [
        row[:2] for row in expected
    ]
    assert part.table([]).num_columns == 0
    with pytest.raises(ValueError, match="no column 'doc'; there are id, task, document"):
        part.table(["doc"])


async def test_an_empty_stream_has_one_part_without_rows(world):
    crawler = await world.crawler()
    [part] = await planned(world, crawler.stream)
    assert (part.table().num_rows, part.table().schema) == (0, SCHEMA)


async def test_large_documents_come_in_small_batches(world):
    world.as_files = True
    crawler = await world.crawler()
    await world.done(crawler, [{"id": f"{n}", "text": "x" * 500_000} for n in range(40)])
    [part] = await planned(world, crawler.stream, ranges=1)
    sizes = [batch.nbytes for batch in part.batches()]
    assert len(sizes) > 1
    assert max(sizes) < 16 << 20


async def test_an_expired_plan_says_what_to_do(world):
    stream = await a_folded_stream(world)
    [part] = await planned(world, stream, ranges=1, age=2)
    with pytest.raises(PlanUnreadable, match=r"has expired at .*ask for it again, with as_of=5"):
        part.table()


async def test_a_file_that_is_gone_or_damaged_says_so(world):
    stream = await a_folded_stream(world)
    [part] = await planned(world, stream, ranges=1)
    file = max(world.store.root.glob("streams/**/*.parquet"), key=lambda file: file.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 4] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)
    with pytest.raises(PlanUnreadable, match="cannot be read"):
        part.table()
    file.unlink()
    with pytest.raises(HeadwaterError, match="is not there any more; ask for it again, with as_of=5"):
        part.table()


async def test_a_part_does_not_show_its_credentials(world):
    crawler = await world.crawler()
    [part] = await planned(world, crawler.stream)
    assert "config" not in repr(part)
