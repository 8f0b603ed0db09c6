import csv
import io
import json
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from headwater.domain.errors import RequestInvalid
from headwater.lake.tabular import MOST_COLUMNS, Columns, csv_header, csv_lines, texts_of
from table_builders import DEEP, DOCUMENTS, HARD_NAMES, Lake


@pytest.fixture(scope="module")
def lake():
    with tempfile.TemporaryDirectory() as folder:
        made = Lake(Path(folder))
        yield made
        made.engine.close()


@settings(max_examples=examples(60), deadline=None)
@given(documents=DOCUMENTS)
def test_fields_come_in_the_order_in_which_they_first_occur(lake, documents):
    names = list(dict.fromkeys(name for document in documents for name in document))
    assert lake.only(*map(json.dumps, documents)).columns().names == names


def test_only_documents_that_show_have_fields(lake):
    lake.only('{"old": 1}', '{"b": 1}').hold('{"a": 1}', layer=2)
    assert lake.columns().names == ["a", "b"]


@settings(max_examples=examples(60), deadline=None)
@given(documents=DOCUMENTS, bounds=st.sets(st.integers(0, 6)))
def test_range_by_range_the_fields_are_the_same(lake, documents, bounds):
    lake.only(*map(json.dumps, documents))
    whole, parts = lake.columns(), lake.columns(bounds=[f"{place:05}" for place in sorted(bounds)])
    assert whole.names == parts.names


def test_the_last_value_of_a_name_that_stands_twice_counts(lake):
    lake.only('{"a": 1, "b": {"c": 1, "c": 2}, "a": "x", "": 0, "": null}', '{"b": 3, "a": 2}')
    assert lake.columns().names == ["a", "b", ""]
    assert lake.csv() == b'x,"{""c"":1,""c"":2}",\r\n2,3,\r\n'
    assert lake.table() == [{"a": '"x"', "b": '{"c":2}', "": None}, {"a": "2", "b": "3", "": None}]


def test_names_that_stand_twice_and_a_text_that_is_no_json_go_together(lake):
    lake.only('{"a": 1, "a": 2, "b": [null]}', "nonsense")
    assert lake.csv() == b"2,[null]\r\n,\r\n"
    assert lake.table() == [{"a": 2, "b": [None]}, {"a": None, "b": None}]


def test_a_document_with_many_names_twice_is_read_all_the_same(lake):
    lake.only("{" + ",".join(f'"{n % 1000}": {n}' for n in range(50_000)) + "}")
    assert lake.csv().decode() == ",".join(str(n) for n in range(49_000, 50_000)) + "\r\n"


def test_a_text_that_is_no_json_to_duckdb_has_no_fields_and_makes_no_question_fail(lake):
    lake.only('{"a": 1, "b": 2}', '{"c": nonsense}', '{"a": 3}')
    assert lake.columns().names == ["a", "b"]
    assert lake.csv() == b"1,2\r\n,\r\n3,\r\n"
    assert lake.table() == [{"a": 1, "b": 2}, {"a": None, "b": None}, {"a": 3, "b": None}]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("null", b""),
        ('""', b'""'),
        ('"a b"', b"a b"),
        ('"a,b"', b'"a,b"'),
        ('"say \\"a\\""', b'"say ""a"""'),
        ('"a\\nb"', b'"a\nb"'),
        ('"a\\rb"', b'"a\rb"'),
        ('"\\u00fc\\ud83d\\ude00\\u0000"', "ü😀\0".encode()),
        ("true", b"true"),
        ("-0.5", b"-0.5"),
        ("1e3", b"1000.0"),
        ("123456789012345678901234567890", b"123456789012345678901234567890"),
        ('"null"', b"null"),
        ("{}", b"{}"),
        ('[1, "a"]', b'"[1,""a""]"'),
        (DEEP, DEEP.encode()),
    ],
)
def test_a_cell_has_quotes_only_where_it_needs_them(lake, value, cell):
    lake.only(f'{{"a": {value}, "b": 1}}', '{"b": 2}')
    assert lake.csv() == cell + b",1\r\n,2\r\n"


def test_of_a_single_column_no_line_is_empty(lake):
    assert lake.only('{"a": 1}', "{}", '{"a": null}').csv() == b'1\r\n""\r\n""\r\n'


def test_as_many_fields_as_a_table_can_have_are_taken_and_no_more(lake):
    fields = [json.dumps({f"f{n}": n}) for n in range(MOST_COLUMNS)]
    assert len(lake.only(*fields).columns().names) == MOST_COLUMNS
    assert len(lake.fields().shapes) == MOST_COLUMNS
    lake.only(*fields, '{"one more": 1}')
    with pytest.raises(RequestInvalid, match="format=ndjson") as caught:
        lake.columns()
    with pytest.raises(RequestInvalid, match="format=ndjson"):
        lake.fields()
    assert [flaw.pointer for flaw in caught.value.flaws] == ["?format"]


def test_names_that_are_too_long_together_are_refused(lake):
    with pytest.raises(RequestInvalid, match="format=ndjson"):
        lake.only(*(json.dumps({str(n) * 600_000: 1}) for n in range(2))).columns()


def test_two_thousand_columns_can_be_read(lake):
    lake.only(*(json.dumps({f"f{n}": n, f"g{n}": [n]}) for n in range(MOST_COLUMNS // 2)))
    assert lake.table()[500] == {f"{letter}{n}": None for n in range(1000) for letter in "fg"} | {
        "f500": 500,
        "g500": [500],
    }
    assert lake.csv().count(b",") == (MOST_COLUMNS - 1) * MOST_COLUMNS // 2


@settings(max_examples=examples(60), deadline=None)
@given(documents=DOCUMENTS, names=st.lists(st.sampled_from(HARD_NAMES), min_size=1, unique=True))
def test_columns_that_are_chosen_come_alone_and_in_their_order(lake, documents, names):
    lake.only(*map(json.dumps, documents))
    columns = Columns(names)
    text = b"".join(csv_lines(lake.engine, columns, batch) for batch in lake.batches(texts_of()))
    rows = list(csv.reader(io.StringIO(text.decode(), newline="")))
    assert [len(row) for row in rows] == [len(names)] * len(documents)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ('"=1+1"', b"'=1+1"),
        ('"+1"', b"'+1"),
        ('"-1"', b"'-1"),
        ('"@x"', b"'@x"),
        ('"\\t=1"', b"'\t=1"),
        ('"\\r=1"', b'"\'\r=1"'),
        ('"=1,2"', b'"\'=1,2"'),
        ('"\uff1d1"', "'\uff1d1".encode()),
        ('"a=1"', b"a=1"),
        ('""', b'""'),
        ("-1", b"-1"),
        ("-1.5", b"-1.5"),
        ('["=1"]', b'"[""=1""]"'),
        ("null", b""),
        ("true", b"true"),
    ],
)
def test_texts_that_a_spreadsheet_takes_for_formulas_are_defused(lake, value, cell):
    lake.only(f'{{"a": {value}, "b": 1}}')
    assert lake.csv(is_defused=True) == cell + b",1\r\n"


def test_titles_that_a_spreadsheet_takes_for_formulas_are_defused():
    assert csv_header(["=a", "b", "-", ""], is_defused=True) == b"'=a,b,'-,\"\"\r\n"
    assert csv_header(["=a", "b"]) == b"=a,b\r\n"


def test_titles_that_a_reader_would_take_for_something_else_are_in_quotes():
    names = ["a;b", "a\tb", "a|b", " a", "a ", "sep=;", "\ufeffa", 'a"b', "a,b", "a b"]
    line = csv_header(names).decode()
    assert line == '"a;b","a\tb","a|b"," a","a ","sep=;","\ufeffa","a""b","a,b",a b\r\n'
    assert next(csv.reader([line])) == names


def _seconds_for(lake, columns, documents):
    """Processor time for lines of CSV of so many documents with so many columns."""
    lake.only(*(json.dumps({f"f{n}": n for n in range(columns)}) for _ in range(documents)))
    names, batches = lake.columns(), list(lake.batches(texts_of()))
    began = time.process_time()
    text = b"".join(csv_lines(lake.engine, names, batch) for batch in batches)
    assert text.count(b",") == (columns - 1) * documents
    return time.process_time() - began


def test_the_time_for_csv_grows_with_the_cells_and_not_with_the_square_of_the_columns(lake):
    # As many cells in eight times as many columns would take eight times as long, were it so.
    assert _seconds_for(lake, 1900, 200) < 4 * _seconds_for(lake, 237, 1603)
