import asyncio
import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from headwater.domain.errors import Unavailable
from headwater.lake.engine import Found, lines
from lake_builders import Lake, a_batch, files_in, write


@pytest.fixture(scope="module")
def lake():
    with tempfile.TemporaryDirectory() as folder:
        made = Lake(Path(folder))
        yield made
        made.engine.close()


@settings(deadline=None, max_examples=examples(50))
@given(st.lists(st.text(max_size=5), max_size=12), st.data())
def test_the_lines_of_a_slice_are_its_documents(texts, data):
    start, end = sorted(data.draw(st.integers(0, len(texts))) for _ in range(2))
    batch = a_batch([("", text + "\n") for text in texts]).slice(start, end - start)
    assert lines(batch) == "".join(text + "\n" for text in texts[start:end]).encode()


def test_the_lines_of_a_slice_of_a_slice_are_its_documents():
    batch = a_batch([(str(number), f"{number}\n") for number in range(10)])
    assert lines(batch.slice(2, 6).slice(1, 3)) == b"3\n4\n5\n"


def test_the_lines_of_a_batch_without_documents_are_none():
    assert lines(pa.RecordBatch.from_pylist([], a_batch([]).schema)) == b""


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('{outside}')",
        "SELECT * FROM read_blob('{outside}')",
        "SELECT * FROM read_csv('{outside}')",
        "SELECT * FROM '{outside}'",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM parquet_metadata('{outside}')",
        "SELECT * FROM read_text('{lake}/../outside.csv')",
        "SELECT * FROM read_text('{lake}/streams/../../outside.csv')",
        "SELECT * FROM read_text('{lake}2/outside.csv')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('http://127.0.0.1:1/outside.csv')",
        "COPY (SELECT 1) TO '{folder}/written.csv'",
        "ATTACH '{folder}/other.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET memory_limit = '100GB'",
        "RESET allowed_directories",
    ],
)
def test_nothing_outside_the_lake_is_read_or_written(tmp_path, query):
    lake = Lake(tmp_path)
    outside = tmp_path / "outside.csv"
    for file in (outside, tmp_path / "lake2" / "outside.csv"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("a,b\n1,2\n")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(duckdb.Error):
        lake.engine._db.execute(query.format(outside=outside, folder=tmp_path, lake=lake.store.root))  # noqa: SLF001 - what its door does not offer, its window must not
    assert sorted(tmp_path.iterdir()) == before


def test_the_lake_itself_is_read(tmp_path):
    lake = Lake(tmp_path)
    segment = write(lake.store, [("a", "{}\n")])
    query = f"SELECT doc_id FROM read_parquet('{lake.store.locate(segment.path)}')"
    assert lake.engine._db.execute(query).fetchall() == [("a",)]  # noqa: SLF001 - the other half of the test above


def test_duckdb_is_opened_by_the_first_query(tmp_path):
    engine = Lake(tmp_path).engine
    assert (engine.held(), engine._opened) == (0, None)  # noqa: SLF001 - measuring what it holds does not open it
    engine.check()
    assert engine._opened is not None  # noqa: SLF001 - as above


def test_an_engine_that_was_closed_opens_nothing(tmp_path):
    lake = Lake(tmp_path)
    lake.engine.close()
    with pytest.raises(Unavailable):
        lake.engine.check()


@pytest.mark.parametrize(
    "name", ["it's", 'quo"te', "sp ace", "ünï", "br{a,b}ce", "pc%41", "a=b", "semi;colon", "back\\slash"]
)
def test_a_lake_may_lie_in_a_folder_of_any_other_name(tmp_path, name):
    lake = Lake(tmp_path / name)
    assert lake.exported([write(lake.store, [("a", "{}\n")])]) == [Found(id="a", task="7" * 32, text="{}\n")]


def test_a_closed_engine_leaves_nothing_in_the_spill_folder(tmp_path):
    lake = Lake(tmp_path)
    segments = lake.keep([[("a", "{}\n")]])
    lake.exported(segments)
    lake.engine.close()
    assert list(lake.spill.iterdir()) == []
    assert files_in(lake.store) == [segments[0].path]


async def test_a_question_that_would_take_long_is_broken_off_when_the_engine_is_closed(tmp_path):
    lake = Lake(tmp_path)
    endless = "SELECT sum(hash(a.range + b.range)) FROM range(10_000_000) a, range(10_000_000) b"
    asked = asyncio.create_task(lake.engine.ask(lake.engine.rows, endless, {}))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(lake.engine.close)
    with pytest.raises(Unavailable, match="stopping"):
        await asked


def test_a_closed_engine_answers_nothing(tmp_path):
    lake = Lake(tmp_path)
    lake.engine.close()
    with pytest.raises(Unavailable, match="stopping"):
        lake.engine.check()


def test_an_open_engine_answers_a_check(lake):
    assert lake.engine.check() is None
