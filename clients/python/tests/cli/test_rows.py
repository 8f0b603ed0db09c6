import io

import pytest

from headwater_client.cli.endings import Code, Refusal
from headwater_client.cli.pushing.rows import documents, kinds_of

KINDS = {"price": "number", "pages": "integer", "new": "boolean"}


def _found(text: str, delimiter: str = ",", kinds=KINDS) -> list[tuple[int, bytes]]:
    return list(documents(io.BytesIO(text.encode()), "books.csv", delimiter, kinds))


def test_rows_are_documents_and_cells_what_the_schema_says():
    text = 'title,price,pages,new\nEmma,8.50,1,true\n"A, ""b""",1e3,-2,0\n'
    assert _found(text) == [
        (2, b'{"title":"Emma","price":8.50,"pages":1,"new":true}\n'),
        (3, b'{"title":"A, \\"b\\"","price":1e3,"pages":-2,"new":false}\n'),
    ]


def test_what_the_schema_does_not_name_is_a_text():
    assert _found("zip,price\n01234,1\n", kinds={}) == [(2, b'{"zip":"01234","price":"1"}\n')]


def test_empty_and_missing_cells_are_left_away():
    assert _found("a,price,c\n1,,\n,2\n,,\n") == [(2, b'{"a":"1"}\n'), (3, b'{"price":2}\n'), (4, b"{}\n")]


def test_rows_are_counted_as_a_spreadsheet_does():
    assert [number for number, _ in _found('a\n"x\ny"\n\nz\n')] == [2, 4]


def test_a_byte_order_mark_and_other_line_ends_do_no_harm():
    assert _found("\ufeffa;b\r\n1;2\r\n", ";", {}) == [(2, b'{"a":"1","b":"2"}\n')]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,price\n1,x\n", 'books.csv, row 2: column "price": "x" is no number'),
        ("a,pages\n1,1.5\n", 'books.csv, row 2: column "pages": "1.5" is no integer'),
        ("a,pages\n1,007\n", 'books.csv, row 2: column "pages": "007" is no integer'),
        ("a,new\n1,maybe\n", 'books.csv, row 2: column "new": "maybe" is no boolean'),
        ("a,b\n1,2,3\n", "books.csv, row 2: there are 3 cells, and the header has 2"),
        ("a,a\n1,2\n", "books.csv, row 1: two columns are called 'a'"),
        ("a,,b\n1,2,3\n", "books.csv, row 1: column 2 has no name in the header"),
        ('a\n"x\n', "books.csv, row 2: this is no CSV: unexpected end of data"),
        ("a,price\n1," + "9" * 99 + "x\n", f'books.csv, row 2: column "price": "{"9" * 60}…" is no number'),
    ],
)
def test_a_row_that_cannot_be_is_told(text, says):
    with pytest.raises(Refusal) as caught:
        _found(text)
    assert (str(caught.value), caught.value.code) == (says, Code.REJECTED)


@pytest.mark.parametrize(
    ("schema", "kinds"),
    [
        (None, {}),
        (True, {}),
        ({"properties": True}, {}),
        ({"properties": {"a": True, "b": {}, "c": {"type": "string"}}}, {}),
        ({"properties": {"a": {"type": "number"}, "b": {"type": "integer"}}}, {"a": "number", "b": "integer"}),
        ({"properties": {"a": {"type": ["boolean", "null"]}}}, {"a": "boolean"}),
        ({"properties": {"a": {"type": ["number", "string"]}}}, {}),
    ],
)
def test_a_schema_says_which_cells_are_numbers_or_booleans(schema, kinds):
    assert kinds_of(schema) == kinds
