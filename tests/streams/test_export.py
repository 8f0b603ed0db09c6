import base64
import csv
import io
import json
import random
import tracemalloc
from datetime import UTC, date, datetime

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from budget import examples
from builders import an_external
from documents import DOCUMENTS
from headwater.domain.document import document_id
from headwater.domain.errors import RequestInvalid, SegmentDamaged
from headwater.domain.filter import condition_of
from headwater.streams.export import ExportFormat, Layout, Selection, pieces
from headwater.streams.views import NOW, View
from headwater_client.cli.push.column_types import columns_of
from headwater_client.cli.push.rows import documents as rows_of_csv
from lakes import needs_directory
from workbooks import sheets_of

STREAMS = st.lists(DOCUMENTS, max_size=6)
settings.register_profile(
    "export", max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
many = settings(settings.get_profile("export"))


@pytest.fixture
def url(sqlite_url):
    """One engine of the catalog is enough: what is in a file does not depend on it."""
    return sqlite_url


async def _file(world, stream, form, *, view=NOW, selection=Selection(), **layout):  # noqa: B008 - it is frozen
    documents = await world.reader.documents(stream, view)
    file = await pieces(world.reader, world.engine, documents, form, selection=selection, layout=Layout(**layout))
    return b"".join([piece async for piece in file])


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
    table = pq.read_table(file, columns=["_id", "_task", "document"]).to_pylist()
    with duckdb.connect() as database:
        rows = database.execute("SELECT _id, _task, document FROM read_parquet(?)", [str(file)]).fetchall()
    assert rows == [(row["_id"], row["_task"], row["document"]) for row in table]
    assert [(row["_id"], json.loads(row["document"])) for row in table] == shown
    assert {row["_task"] for row in table} <= {task and task.fid}


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
            {"id": "a", "_Task": 1, "document": 1.5, "document_": True, "n": None, "N": "x", "": 2, "any": "x"},
            {"id": "b", "_Task": -2, "document": 2, "document_": None, "n": None, "tags": [1], "any": 1, "_id": "x"},
        ],
    )
    file = tmp_path / "file.parquet"
    file.write_bytes(await _file(world, crawler.stream, ExportFormat.PARQUET, infer=True))
    table = pq.read_table(file)
    assert {field.name: str(field.type) for field in table.schema} == {
        "_id": "string",
        "_task": "string",
        "document": "string",
        "id": "string",
        "_Task_": "int64",
        "document_": "double",
        "document__": "bool",
        "n": "string",
        "N_": "string",
        "_": "int64",
        "any": "string",
        "tags": "list<element: int64>",
        "_id_": "string",
    }
    with duckdb.connect() as database:
        answer = database.execute("SELECT * EXCLUDE (_task, document) FROM read_parquet(?)", [str(file)])
        assert [column[0] for column in answer.description] == [
            name for name in table.column_names if name not in {"_task", "document"}
        ]
        assert answer.fetchall() == [
            ("a", "a", 1, 1.5, True, None, "x", 2, '"x"', None, None),
            ("b", "b", -2, 2.0, None, None, None, None, "1", [1], "x"),
        ]


async def test_lists_dates_and_nested_objects_are_typed_for_every_reader(world, tmp_path):
    crawler = await world.crawler()
    await world.done(
        crawler,
        [
            {"id": "a", "at": "2026-02-28T10:00:00+01:00", "on": "2026-02-28", "author": {"name": "x", "born": None}},
            {"id": "b", "offers": [{"price": 1.5, "in": ["de"]}, {"price": 2}], "author": {"born": "1990-05-06"}},
        ],
    )
    file = tmp_path / "file.parquet"
    file.write_bytes(await _file(world, crawler.stream, ExportFormat.PARQUET, infer=True, has_document=False))
    table = pq.read_table(file, columns=["_id", "at", "on", "author", "offers"])
    at, on, born = datetime(2026, 2, 28, 9, tzinfo=UTC), date(2026, 2, 28), date(1990, 5, 6)
    offers = [{"price": 1.5, "in": ["de"]}, {"price": 2.0, "in": None}]
    assert table.to_pylist() == [
        {"_id": "a", "at": at, "on": on, "author": {"name": "x", "born": None}, "offers": None},
        {"_id": "b", "at": None, "on": None, "author": {"name": None, "born": born}, "offers": offers},
    ]
    assert pq.read_schema(file).names == ["_id", "_task", "id", "at", "on", "author", "offers"]
    with duckdb.connect() as database:
        rows = database.execute(
            'SELECT epoch("at"), "on", author.born, offers[1].price, offers[2]."in" FROM read_parquet(?)', [str(file)]
        ).fetchall()
    assert rows == [(at.timestamp(), on, None, None, None), (None, None, born, 1.5, None)]


@many
@given(documents=STREAMS)
async def test_typed_columns_without_the_document_hold_all_documents_for_every_reader(world, tmp_path, documents):
    stream, _, shown = await _stream(world, documents)
    file = tmp_path / "file.parquet"
    file.write_bytes(await _file(world, stream, ExportFormat.PARQUET, infer=True, has_document=False))
    table = pq.read_table(file)
    with duckdb.connect() as database:
        described = database.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(file)]).fetchall()
        (count,) = database.execute("SELECT count(*) FROM read_parquet(?)", [str(file)]).fetchone()
    assert [name for name, *_ in described] == table.column_names
    assert table.column("_id").to_pylist() == [doc_id for doc_id, _ in shown]
    assert count == len(shown)


PRICES = Selection(condition=condition_of("penguin", ["price>=2"]))
BOOKS = [
    {"id": "a", "price": 1, "by": "Penguin"},
    {"id": "b", "price": 2, "by": "Penguin", "tags": ["x"]},
    {"id": "c", "price": 3.5, "by": "Faber"},
    {"id": "d", "price": 4, "by": "penguin classics"},
]


@pytest.mark.parametrize("form", ExportFormat)
async def test_a_file_holds_the_documents_that_meet_a_condition(world, form):
    crawler = await world.crawler()
    await world.done(crawler, [{**book, "price": 9} for book in BOOKS])
    await world.done(crawler, BOOKS)
    assert _ids(form, await _file(world, crawler.stream, form, selection=PRICES)) == ["b", "d"]


def _ids(form, file):
    match form:
        case ExportFormat.NDJSON:
            return [json.loads(line)["id"] for line in file.splitlines()]
        case ExportFormat.CSV:
            return [row["id"] for row in _rows(file)]
        case ExportFormat.PARQUET:
            return pq.read_table(io.BytesIO(file)).column("_id").to_pylist()
        case ExportFormat.XLSX:
            return [row[0] for row in sheets_of(file)[0][1:]]


async def test_fields_that_do_not_occur_in_what_meets_a_condition_are_no_columns(world):
    crawler = await world.crawler()
    await world.done(crawler, BOOKS)
    found = await _file(
        world, crawler.stream, ExportFormat.CSV, selection=Selection(condition=condition_of("faber", []))
    )
    assert found == b"id,price,by\r\nc,3.5,Faber\r\n"


async def test_a_file_holds_the_fields_that_were_chosen_in_their_order(world):
    crawler = await world.crawler()
    await world.done(crawler, b'{"id": "a", "price": 1.50, "tags": ["x",  1]}\n{"price": 2, "id": "b", "by": null}\n')
    fields = Selection(fields=("price", "tags", "missing"))
    assert await _file(world, crawler.stream, ExportFormat.NDJSON, selection=fields) == (
        b'{"price":1.50,"tags":["x",  1]}\n{"price":2}\n'
    )
    assert await _file(world, crawler.stream, ExportFormat.CSV, selection=fields) == (
        b'price,tags,missing\r\n1.5,"[""x"",1]",\r\n2,,\r\n'
    )
    file = await _file(world, crawler.stream, ExportFormat.PARQUET, selection=fields, infer=True)
    assert pq.read_table(io.BytesIO(file)).drop_columns(["_task"]).to_pylist() == [
        {
            "_id": "a",
            "document": '{"price":1.50,"tags":["x",  1]}',
            "price": 1.5,
            "tags": ['"x"', "1"],
            "missing": None,
        },
        {"_id": "b", "document": '{"price":2}', "price": 2.0, "tags": None, "missing": None},
    ]
    file = await _file(world, crawler.stream, ExportFormat.XLSX, selection=fields)
    assert sheets_of(file) == [[["price", "tags", "missing"], [1.5, '["x",1]', None], [2, None, None]]]


async def test_csv_of_chosen_fields_has_a_header_even_without_documents(world):
    crawler = await world.crawler()
    assert await _file(world, crawler.stream, ExportFormat.CSV, selection=Selection(fields=("a", "b"))) == b"a,b\r\n"


async def test_csv_has_a_byte_order_mark_and_no_formulas_if_that_is_asked_for(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a", "x": "=1+1", "n": -1}])
    assert await _file(world, crawler.stream, ExportFormat.CSV, has_mark=True, is_defused=True) == (
        b"\xef\xbb\xbfid,x,n\r\na,'=1+1,-1\r\n"
    )
    assert await _file(world, crawler.stream, ExportFormat.CSV) == b"id,x,n\r\na,=1+1,-1\r\n"


NAMES = st.text(min_size=1, max_size=4) | st.sampled_from(["a;b", "a,b", "sep=;", " a ", "\ufeff", "a\tb", 'q"', "\n"])
COLUMNS = {
    "number": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    "integer": st.integers(),
    "boolean": st.booleans(),
    "string": st.text(max_size=6)
    | st.sampled_from(["", "a;b", "a,b", '""', "\r\n", " ", "null", "1", "\ufeff", "[1]"]),
    "array": st.lists(st.text(max_size=3) | st.integers() | st.none(), max_size=3),
    "object": st.dictionaries(
        st.text(max_size=3), st.integers() | st.lists(st.text(max_size=2), max_size=2), max_size=3
    ),
}


@st.composite
def _typed_streams(draw):
    """A schema, written in one of the ways in which generators write optional fields, and documents that match it."""
    types = draw(st.dictionaries(NAMES.filter(lambda name: name != "id"), st.sampled_from([*COLUMNS]), max_size=4))
    ways = [
        lambda kind: {"type": kind},
        lambda kind: {"type": [kind, "null"]},
        lambda kind: {"anyOf": [{"type": kind}, {"type": "null"}]},
        lambda kind: {"$ref": f"#/$defs/{kind}"},
    ]
    properties = {name: draw(st.sampled_from(ways))(kind) for name, kind in types.items()}
    fields = st.fixed_dictionaries({}, optional={name: COLUMNS[kind] for name, kind in types.items()})
    ids = draw(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=5, unique=True))
    documents = [{"id": doc_id} | draw(fields) for doc_id in ids]
    return {"$defs": {kind: {"type": kind} for kind in COLUMNS}, "properties": properties}, documents


@many
@given(stream=_typed_streams(), has_mark=st.booleans())
async def test_what_csv_export_wrote_push_reads_as_the_same_documents(world, stream, has_mark):
    schema, documents = stream
    crawler = await world.crawler(external=an_external(doc_id_field="id", schema=schema))
    await world.done(crawler, documents)
    file = await _file(world, crawler.stream, ExportFormat.CSV, has_mark=has_mark)
    # One column whose cells all look like several is asked about.
    delimiter = "," if all(document.keys() == {"id"} for document in documents) else None
    rows = rows_of_csv(io.BytesIO(file), "x.csv", columns_of(schema), delimiter=delimiter)
    read = [json.loads(line) for _, line in rows]
    assert read == sorted(documents, key=lambda document: document["id"].encode())


async def test_a_document_in_parquet_is_its_text_without_the_line_end(world, tmp_path):
    crawler = await world.crawler()
    await world.done(crawler, b'{"id": "a",  "n": 1.50} \r\n')
    file = tmp_path / "file.parquet"
    file.write_bytes(await _file(world, crawler.stream, ExportFormat.PARQUET))
    table = pq.read_table(file)
    assert table.column("document").to_pylist() == ['{"id": "a",  "n": 1.50} ']
    assert table.column_names == ["_id", "_task", "document"]


@pytest.mark.parametrize("infer", [False, True])
async def test_parquet_of_no_documents_is_a_table_without_rows(world, tmp_path, infer):
    crawler = await world.crawler()
    file = tmp_path / "file.parquet"
    file.write_bytes(await _file(world, crawler.stream, ExportFormat.PARQUET, infer=infer))
    table = pq.read_table(file)
    assert (table.num_rows, table.column_names) == (0, ["_id", "_task", "document"])


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


@needs_directory
@pytest.mark.parametrize("form", ExportFormat)
async def test_what_cannot_be_read_is_an_error_before_the_first_piece(world, form):
    world.as_files = True
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    documents = await world.reader.documents(crawler.stream, NOW)
    for file in world.store.root.rglob("*.parquet"):
        file.unlink()
    with pytest.raises(SegmentDamaged, match="missing"):
        await pieces(world.reader, world.engine, documents, form)


async def test_too_many_fields_for_columns_are_refused_before_the_first_piece(world):
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"} | {f"f{n}": n for n in range(2000)}])
    documents = await world.reader.documents(crawler.stream, NOW)
    for form, infer in ((ExportFormat.CSV, False), (ExportFormat.PARQUET, True), (ExportFormat.XLSX, False)):
        with pytest.raises(RequestInvalid, match="format=ndjson"):
            await pieces(world.reader, world.engine, documents, form, layout=Layout(infer=infer))
    assert await _file(world, crawler.stream, ExportFormat.PARQUET)


@pytest.mark.parametrize(
    ("layout", "parameter", "only"),
    [
        ({"infer": True}, "columns", ExportFormat.PARQUET),
        ({"has_document": False}, "document", ExportFormat.PARQUET),
        ({"is_defused": True}, "defuse", ExportFormat.CSV),
        ({"has_mark": True}, "bom", ExportFormat.CSV),
    ],
)
@pytest.mark.parametrize("form", ExportFormat)
async def test_what_is_for_one_form_is_refused_with_others(world, form, layout, parameter, only):
    crawler = await world.crawler()
    documents = await world.reader.documents(crawler.stream, NOW)
    file = pieces(world.reader, world.engine, documents, form, layout=Layout(**layout))
    if form is only:
        assert await file
        return
    with pytest.raises(RequestInvalid, match=f"format={only}") as caught:
        await file
    assert [flaw.pointer for flaw in caught.value.flaws] == [f"?{parameter}"]


async def _large(world):
    """A stream of 96,000 documents of 1 KiB, which compress badly."""
    crawler, rng = await world.crawler(), random.Random(1)
    for part in range(4):
        texts = (base64.b64encode(rng.randbytes(750)).decode() for _ in range(24_000))
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
