import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.lake.tables import Fields
from headwater.streams.spreadsheet import LONGEST_CELL, SpreadsheetWriter
from workbooks import sheets_of

DATE, MOMENT = 2, 3


def _sheets(*documents, **limits):
    texts = [document if isinstance(document, str) else json.dumps(document) for document in documents]
    batch = pa.RecordBatch.from_pydict({"doc_id": texts, "task": texts, "doc": texts})
    fields = Fields()
    fields.add(batch)
    writer = SpreadsheetWriter(fields, **limits)
    return sheets_of(writer.add(batch) + writer.finish())


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("1", 1),
        ("-2.5", -2.5),
        ("1e300", 1e300),
        ("true", True),
        ("false", False),
        ('"a & <b> \\"c\\""', 'a & <b> "c"'),
        ('" a\\n b\\tc "', " a\n b\tc "),
        ('"=1+1"', "=1+1"),
        ('""', ""),
        ('"1"', "1"),
        ('"a\\u0000b\\u001f\\r"', "a\0b\x1f\r"),
        ('"_x0041_ \\uffff"', "_x0041_ \uffff"),
        ('"\U0001f600"', "\U0001f600"),
        ("999999999999999", 999999999999999),
        ("1000000000000000", "1000000000000000"),
        ("12345678901234567890123", "12345678901234567890123"),
        ('[1, {"a": null}]', '[1,{"a":null}]'),
        ('{"a": "b"}', '{"a":"b"}'),
        ('"2026-02-28"', (46081, DATE)),
        ('"1900-03-01"', (61, DATE)),
        ('"1900-02-28"', "1900-02-28"),
        ('"2026-02-28T12:00:00Z"', (46081.5, MOMENT)),
        ('"2026-02-28T13:00:00+01:00"', (46081.5, MOMENT)),
        ('"2026-02-28T06:00:00"', (46081.25, MOMENT)),
        ("null", None),
    ],
)
def test_a_value_is_a_cell_of_its_type(value, cell):
    assert _sheets(f'{{"a": {value}, "b": 1}}') == [[["a", "b"], [cell, 1]]]


def test_values_of_several_kinds_are_each_what_they_are():
    assert _sheets({"a": 1}, {"a": "x"}, {"a": [1]}, {"a": True}, {}) == [[["a"], [1], ["x"], ["[1]"], [True], [None]]]


def test_what_is_too_long_for_a_cell_ends_in_an_ellipsis():
    ((_, (text,), (whole,)),) = _sheets({"a": "x" * (LONGEST_CELL + 1)}, {"a": "y" * LONGEST_CELL})
    assert text == "x" * (LONGEST_CELL - 1) + "…"
    assert whole == "y" * LONGEST_CELL


def test_rows_that_are_too_many_for_a_sheet_go_on_in_further_ones_with_the_header():
    found = _sheets(*({"a": n} for n in range(5)), most_rows=3)
    assert found == [[["a"], [0], [1]], [["a"], [2], [3]], [["a"], [4]]]


def test_a_workbook_of_no_documents_has_an_empty_sheet():
    assert _sheets() == [[[]]]


def test_columns_beyond_z_have_two_letters_and_more():
    names = [f"f{n}" for n in range(1500)]
    assert _sheets(dict.fromkeys(names, 1)) == [[names, [1] * 1500]]


@given(documents=st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=6) | st.booleans()), max_size=5))
def test_every_text_can_be_read_again(documents):
    names = list(dict.fromkeys(name for document in documents for name in document))
    ((header, *rows),) = _sheets(*documents)
    assert header == names
    assert rows == [[document.get(name) for name in names] for document in documents]
