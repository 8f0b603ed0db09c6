import base64
import csv
import io
import json
import random
import tracemalloc

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import an_external
from documents import DOCUMENTS
from headwater.domain.document import document_id
from headwater.domain.errors import RequestInvalid
from headwater.streams.export import ExportFormat, pieces
from headwater.streams.views import NOW, View

STREAMS = st.lists(DOCUMENTS, max_size=6)
settings.register_profile(
    "export", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
many = settings(settings.get_profile("export"))


@pytest.fixture
def url(sqlite_url):
    """One engine of the catalog is enough: what is in a file does not depend on it."""
    return sqlite_url


async def _file(world, stream, form, *, view=NOW, infer=False):
    documents = await world.reader.documents(stream, view)
    return b"".join([piece async for piece in await pieces(world.reader, world.engine, documents, form, infer=infer)])


async def _stream(world, documents):
    """A stream of documents, and those that show in id order."""
    crawler = await world.crawler(external=an_external(doc_id_field="id"))
    task = await world.done(crawler, documents) if documents else None
    shown = {document_id(document, "id"): document for document in documents}
    return crawler.stream, task, [(doc_id, shown[doc_id]) for doc_id in sorted(shown, key=str.encode)]


def _rows(text):
    return csv.DictReader(io.StringIO(text.decode(), newline=""))


def _is_cell_of(cell, value):
    match value:
        case None:
            return cell == ""
        case str():
            return cell == value
        case bool() | int():
            return cell == json.dumps(value)
        case float():
            return float(cell) == value
        case _:
            return json.loads(cell) == value


@many
@given(documents=STREAMS)
async def test_csv_holds_each_document_under_a_header_of_all_fields(world, documents):
    stream, _, shown = await _stream(world, documents)
    rows = _rows(await _file(world, stream, ExportFormat.CSV))
    names = list(dict.fromkeys(name for _, document in shown for name in document))
    assert list(rows.fieldnames or ()) == names
    found = list(rows)
    assert len(found) == (len(shown) if names else 0)
    for row, (_, document) in zip(found, shown, strict=bool(names)):
        assert row.keys() == set(names)
        assert all(_is_cell_of(row[name], document.get(name)) for name in names)


@many
@given(documents=STREAMS, infer=st.booleans())
async def test_parquet_holds_each_document_for_every_reader(world, tmp_path, documents, infer):
    stream, task, shown = await _stream(world, documents)
    file = tmp_path / "file.parquet"
    file.write_bytes(await _file(world, stream, ExportFormat.PARQUET, infer=infer))
    table = pq.read_table(file, columns=["id", "task", "document"]).to_pylist()
    with duckdb.connect() as database:
        rows = database.execute("SELECT id, task, document FROM read_parquet(?)", [str(file)]).fetchall()
    assert rows == [(row["id"], row["task"], row["document"]) for row in table]
    assert [(row["id"], json.loads(row["document"])) for row in table] == shown
    assert {row["task"] for row in table} <= {task and task.fid}


@many
@given(documents=STREAMS)
async def test_ndjson_holds_the_documents_as_they_came(world, documents):
    stream, _, shown = await _stream(world, documents)
    lines = (await _file(world, stream, ExportFormat.NDJSON)).splitlines()
    assert [json.loads(line) for line in lines] == [document for _, document in shown]


async def test_csv_reads_as_rfc_4180_says(world):
    crawler = await world.crawler()
    await world.done(crawler, b'{"id": "a", "a,b": 1.50, "n": 12345678901234567890123}\n{"id": "c", "": ""}\n')
    await world.done(crawler, [{"id": "b", "tags": ["x", 'y"'], "n": None, "a,b": True}])
    assert await _file(world, crawler.stream, ExportFormat.CSV) == (
        b'id,"a,b",n,tags,""\r\na,1.5,12345678901234567890123,,\r\nb,true,,"[""x"",""y\\""""]",\r\nc,,,,""\r\n'
    )


async def test_inferred_columns_are_typed_and_named_apart_from_each_other(world, tmp_path):
    crawler = await world.crawler()
    await world.done(
        crawler,
        [
            {"id": "a", "Task": 1, "document": 1.5, "document_": True, "n": None, "N": "x", "": 2, "any": "x"},
            {"id": "b", "Task": -2, "document": 2, "document_": None, "n": None, "tags": [1], "any": 1},
        ],
    )
    file = tmp_path / "file.parquet"
    file.write_bytes(await _file(world, crawler.stream, ExportFormat.PARQUET, infer=True))
    table = pq.read_table(file)
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "string",
        "task": "string",
        "document": "string",
        "id_": "string",
        "Task_": "int64",
        "document_": "double",
        "document__": "bool",
        "n": "string",
        "N_": "string",
        "_": "int64",
        "any": "string",
        "tags": "string",
    }
    with duckdb.connect() as database:
        answer = database.execute("SELECT * EXCLUDE (task, document) FROM read_parquet(?)", [str(file)])
        assert [column[0] for column in answer.description] == [
            name for name in table.column_names if name not in {"task", "document"}
        ]
        assert answer.fetchall() == [
            ("a", "a", 1, 1.5, True, None, "x", 2, '"x"', None),
            ("b", "b", -2, 2.0, None, None, None, None, "1", "[1]"),
        ]


async def test_a_document_in_parquet_is_its_text_without_the_line_end(world, tmp_path):
    crawler = await world.crawler()
    await world.done(crawler, b'{"id": "a",  "n": 1.50} \r\n')
    file = tmp_path / "file.parquet"
    file.write_bytes(await _file(world, crawler.stream, ExportFormat.PARQUET))
    table = pq.read_table(file)
    assert table.column("document").to_pylist() == ['{"id": "a",  "n": 1.50} ']
    assert table.column_names == ["id", "task", "document"]


@pytest.mark.parametrize("infer", [False, True])
async def test_parquet_of_no_documents_is_a_table_without_rows(world, tmp_path, infer):
    crawler = await world.crawler()
    file = tmp_path / "file.parquet"
    file.write_bytes(await _file(world, crawler.stream, ExportFormat.PARQUET, infer=infer))
    table = pq.read_table(file)
    assert (table.num_rows, table.column_names) == (0, ["id", "task", "document"])


@pytest.mark.parametrize("form", [ExportFormat.CSV, ExportFormat.NDJSON])
async def test_a_text_of_no_documents_is_empty(world, form):
    crawler = await world.crawler()
    assert await _file(world, crawler.stream, form) == b""


@pytest.mark.parametrize("form", ExportFormat)
async def test_a_file_is_of_the_view_that_was_asked_for_whatever_happens_meanwhile(world, form):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": "a", "old": 1}])
    then = (await world.stream(crawler.stream)).stream_version
    before = await _file(world, crawler.stream, form)
    documents = await world.reader.documents(crawler.stream, NOW)
    second = await world.done(crawler, [{"id": "a", "new": 2}, {"id": "b"}])
    file = await pieces(world.reader, world.engine, documents, form)
    await world.delete(first)
    assert b"".join([piece async for piece in file]) == before
    assert await _file(world, crawler.stream, form, view=View(as_of=then)) == before
    assert (
        await _file(world, crawler.stream, form, view=View(as_of=then + 1, without=frozenset([second.fid]))) == before
    )


@pytest.mark.parametrize("form", ExportFormat)
async def test_what_cannot_be_read_is_an_error_before_the_first_piece(world, form):
    world.as_files = True
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    documents = await world.reader.documents(crawler.stream, NOW)
    for file in world.store.root.rglob("*.parquet"):
        file.unlink()
    with pytest.raises(duckdb.Error):
        await pieces(world.reader, world.engine, documents, form)


async def test_too_many_fields_for_columns_are_refused_before_the_first_piece(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"} | {f"f{n}": n for n in range(2000)}])
    documents = await world.reader.documents(crawler.stream, NOW)
    for form, infer in ((ExportFormat.CSV, False), (ExportFormat.PARQUET, True)):
        with pytest.raises(RequestInvalid, match="format=ndjson"):
            await pieces(world.reader, world.engine, documents, form, infer=infer)
    assert await _file(world, crawler.stream, ExportFormat.PARQUET)


@pytest.mark.parametrize("form", [ExportFormat.CSV, ExportFormat.NDJSON])
async def test_columns_are_inferred_for_parquet_alone(world, form):
    crawler = await world.crawler()
    documents = await world.reader.documents(crawler.stream, NOW)
    with pytest.raises(RequestInvalid, match="format=parquet") as caught:
        await pieces(world.reader, world.engine, documents, form, infer=True)
    assert [flaw.pointer for flaw in caught.value.flaws] == ["?columns"]


async def _large(world):
    """A stream of 96,000 documents of 1 KiB, which compress badly."""
    crawler, dice = await world.crawler(), random.Random(1)
    for part in range(4):
        texts = (base64.b64encode(dice.randbytes(750)).decode() for _ in range(24_000))
        await world.done(crawler, [{"id": f"{part}{n}", "text": text} for n, text in enumerate(texts)])
    return await world.reader.documents(crawler.stream, NOW)


async def test_what_is_held_of_a_file_does_not_grow_with_it(world):
    documents = await _large(world)
    size = 0
    tracemalloc.start()
    try:
        file = await pieces(world.reader, world.engine, documents, ExportFormat.PARQUET, row_group_bytes=1 << 20)
        async for piece in file:
            size += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 2


async def test_row_groups_are_large_enough_to_read_well_and_small_enough_to_hold(world):
    documents = await _large(world)
    file = await pieces(world.reader, world.engine, documents, ExportFormat.PARQUET)
    layout = pq.ParquetFile(io.BytesIO(b"".join([piece async for piece in file]))).metadata
    groups = [layout.row_group(place).total_byte_size for place in range(layout.num_row_groups)]
    assert layout.num_rows == 96_000
    assert len(groups) > 1
    # Where a group ends, Arrow's offsets count too; in the file they are smaller.
    assert all(15 << 20 <= size < 32 << 20 for size in groups[:-1])
