import io
import json

import pytest

from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.push.column_types import Columns, columns_of
from headwater_client.cli.push.rows import documents

PROPERTIES = {
    "price": {"type": "number"},
    "pages": {"type": "integer"},
    "new": {"type": "boolean"},
    "tags": {"type": "array"},
    "author": {"type": "object"},
}
COLUMNS = columns_of({"properties": PROPERTIES})


def _found(text: str, delimiter=",", columns=COLUMNS, aside=None) -> list[tuple[int, bytes]]:
    return list(documents(io.BytesIO(text.encode()), "books.csv", columns, delimiter=delimiter, aside=aside))


def test_rows_are_documents_and_cells_what_the_schema_says():
    text = 'title,price,pages,new\nEmma,8.50,1,true\n"A, ""b""",1e3,-2,0\n'
    assert _found(text) == [
        (2, b'{"title":"Emma","price":8.50,"pages":1,"new":true}\n'),
        (3, b'{"title":"A, \\"b\\"","price":1e3,"pages":-2,"new":false}\n'),
    ]


def test_what_the_schema_does_not_name_is_a_text():
    assert _found("zip,price\n01234,1\n", columns=Columns()) == [(2, b'{"zip":"01234","price":"1"}\n')]


def test_empty_and_missing_cells_are_omitted():
    assert _found("a,price,c\n1,,\n,2\n1\n") == [(2, b'{"a":"1"}\n'), (3, b'{"price":2}\n'), (4, b'{"a":"1"}\n')]


@pytest.mark.parametrize("row", [",,", ",,,,", ",", "", '"",,'])
def test_a_row_of_empty_cells_is_no_document(row):
    assert _found(f"price,b,c\n{row}\n1,,\n") == [(3, b'{"price":1}\n')]


def test_an_empty_cell_in_quotes_is_an_empty_text_and_no_number():
    assert _found('a,price,c\n"","",\nx,1,""\n,,""\n"","",""\n') == [
        (2, b'{"a":""}\n'),
        (3, b'{"a":"x","price":1,"c":""}\n'),
        (4, b'{"c":""}\n'),
        (5, b'{"a":"","c":""}\n'),
    ]
    assert _found('a,b,c\n"x"",""",,"y\n"""""\n', columns=Columns()) == [
        (2, b'{"a":"x\\",\\"","c":"y\\n\\"\\""}\n'),
    ]


def test_lists_and_objects_are_json():
    text = 'tags,author\n"[1, ""a"", 1.50]","{""b"": []}"\n[],{}\n"[\n1]",\n'
    assert _found(text) == [
        (2, b'{"tags":[1, "a", 1.50],"author":{"b": []}}\n'),
        (3, b'{"tags":[],"author":{}}\n'),
        (4, b'{"tags":[ 1]}\n'),
    ]


@pytest.mark.parametrize(
    ("cell", "integer"),
    [
        *(("1.0", "1"), ("-3.000", "-3"), ("1e3", "1000"), ("2.5E1", "25"), ("0.0", "0"), ("-0.0", "0"), (" 7 ", "7")),
        ("12345678901234567890123", "12345678901234567890123"),
    ],
)
def test_an_integer_may_be_written_as_a_number(cell, integer):
    assert _found(f"a,pages\n1,{cell}\n") == [(2, f'{{"a":"1","pages":{integer}}}\n'.encode())]


@pytest.mark.parametrize("end", [",", ",,", ", ", ";"])
def test_a_header_may_end_in_delimiters(end):
    delimiter = end[0]
    text = f"a,price{end}\n1,2{end}\n3,4\n5,6,\n".replace(",", delimiter)
    assert [json.loads(line) for _, line in _found(text, delimiter)] == [
        {"a": "1", "price": 2},
        {"a": "3", "price": 4},
        {"a": "5", "price": 6},
    ]


def test_a_name_in_quotes_is_kept_as_it_is():
    assert _found('" a ", b ,""\n1,2,3\n') == [(2, b'{" a ":"1","b":"2","":"3"}\n')]


def test_a_required_field_that_may_be_null_is_null_where_its_cell_is_empty():
    schema = {"required": ["a", "b"], "properties": {"a": {"type": ["number", "null"]}, "b": {"type": "number"}}}
    assert _found("a,b\n,1\n2,\n,\n", columns=columns_of(schema)) == [
        (2, b'{"a":null,"b":1}\n'),
        (3, b'{"a":2}\n'),
    ]


def test_rows_are_counted_as_a_spreadsheet_does():
    assert [number for number, _ in _found('a\n"x\ny"\n\nz\n')] == [2, 4]


def test_a_byte_order_mark_and_other_line_ends_do_no_harm():
    assert _found("\ufeffa;b\r\n1;2\r\n", ";", Columns()) == [(2, b'{"a":"1","b":"2"}\n')]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,price\n1,x\n", 'books.csv, row 2: column "price": "x" is no number'),
        ("a,pages\n1,1.5\n", 'books.csv, row 2: column "pages": "1.5" is no integer'),
        ("a,pages\n1,1e999999999\n", 'books.csv, row 2: column "pages": "1e999999999" is no integer'),
        ("a,pages\n1,1e-999999999\n", 'books.csv, row 2: column "pages": "1e-999999999" is no integer'),
        ("a,tags\n1,x\n", 'books.csv, row 2: column "tags": "x" is no array'),
        ("a,tags\n1,{}\n", 'books.csv, row 2: column "tags": "{}" is no array'),
        ("a,tags\n1,[NaN]\n", 'books.csv, row 2: column "tags": "[NaN]" is no array'),
        ("a,author\n1,[]\n", 'books.csv, row 2: column "author": "[]" is no object'),
        ("a,b,\n1,2,3\n", "books.csv, row 2: there are 3 cells, and the header has 2"),
        ('"",""\n1,2\n', "books.csv, row 1: two columns are called ''"),
        ("a,pages\n1,007\n", 'books.csv, row 2: column "pages": "007" is no integer'),
        ("a,new\n1,maybe\n", 'books.csv, row 2: column "new": "maybe" is no boolean'),
        ("a,b\n1,2,3\n", "books.csv, row 2: there are 3 cells, and the header has 2"),
        ("a,a\n1,2\n", "books.csv, row 1: two columns are called 'a'"),
        ("a,,b\n1,2,3\n", "books.csv, row 1: column 2 has no name in the header"),
        ('a\n"x\n', "books.csv, row 2: this is not CSV: unexpected end of data"),
        ("a,price\n1," + "9" * 99 + "x\n", f'books.csv, row 2: column "price": "{"9" * 60}…" is no number'),
    ],
)
def test_a_row_that_cannot_be_is_told(text, says):
    with pytest.raises(CliError) as caught:
        _found(text)
    assert (str(caught.value), caught.value.code) == (says, ExitCode.REJECTED)


def test_rows_that_are_no_documents_are_kept_aside_and_the_others_read():
    told = []
    text = 'id,price\n1,free\n2,3,4\n3,"x"y\n4,1\n5,"never ends\n6,2\n7,3\n'
    found = _found(text, aside=lambda row, what: told.append((row, what)))
    assert found == [
        (2, b'{"id":"1","price":"free"}\n'),
        (3, b'["2","3","4"]\n'),
        (4, b'"3,\\"x\\"y"\n'),
        (5, b'{"id":"4","price":1}\n'),
        (6, b'"5,\\"never ends"\n'),
        (7, b'{"id":"6","price":2}\n'),
        (8, b'{"id":"7","price":3}\n'),
    ]
    assert [row for row, _ in told] == [2, 3, 4, 6]
    assert told[0][1] == 'column "price": "free" is no number'
    assert told[1][1] == "there are 3 cells, and the header has 2"
    assert told[2][1].startswith("this is not CSV: ")


def test_quotes_that_never_end_cost_no_more_than_so_many_lines_each():
    rows = 60_000
    text = "id,a\n" + "".join(f'{n},"x\n' if n % 2_000 == 0 else f"{n},x\n" for n in range(rows))
    found = _found(text.replace(',"x', ',"x' + "y" * 10), aside=lambda _row, _what: None)
    broken = [line for _, line in found if line.startswith(b'"')]
    assert [row for row, _ in found] == [*range(2, 2 + len(found))]
    assert len(broken) > 0


def test_a_header_that_is_not_csv_is_refused_even_where_rows_are_kept_aside():
    with pytest.raises(CliError, match="row 1: this is not CSV"):
        _found('"a"b,c\n1,2\n', aside=lambda _row, _what: None)


def test_a_row_that_is_not_utf_8_reaches_the_server_as_it_is():
    data = b"id,a\n1,\xe4\n2,x\n"
    found = documents(io.BytesIO(data), "books.csv", Columns(), delimiter=",", aside=lambda _row, _what: None)
    assert list(found) == [(2, b'{"id":"1","a":"\xe4"}\n'), (3, b'{"id":"2","a":"x"}\n')]
