import io

import pytest

from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.push.delimiters import Lines, delimiter_of, split


def _of(text, said=None, *, is_tab_separated=False):
    """The delimiter, and what is left to be read."""
    lines = Lines(io.StringIO(text, newline=""))
    return delimiter_of(lines, "f.csv", said=said, is_tab_separated=is_tab_separated), "".join(lines)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_delimiter_is_recognized(delimiter, end):
    text = "id,name,price\n1,a,2\n".replace(",", delimiter).replace("\n", end)
    assert _of(text) == (delimiter, text)
    assert _of(text.split(end)[0]) == (delimiter, text.split(end)[0])


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("id;price\n1;3,50\n2;4,25\n", ";"),
        ("id;name, first\n1;x\n", ";"),
        ("id,note;text\n1,x\n2,y\n", ","),
        ('id,"a;b"\n1,x;y\n', ","),
        ('"a,b";"c,d"\n"1,2";"3,4"\n', ";"),
        ("name|url\nx|http://a/?b,c\n", "|"),
        ("title\nWar, and Peace\n", ","),
        ("title\n", ","),
        ("", ","),
        ("\n\nid;name\n1;2\n", ";"),
        ("a;b;\n1;2;\n", ";"),
        ('"a\nx;y;z",b\n1,2\n', ","),
    ],
)
def test_the_delimiter_is_the_one_that_makes_a_table(text, delimiter):
    assert _of(text) == (delimiter, text)


@pytest.mark.parametrize(("sep", "delimiter"), [("sep=;", ";"), ("SEP=,", ","), ("sep=\t", "\t"), ("sep=^", "^")])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_first_line_that_names_the_delimiter_is_read_and_no_row(sep, delimiter, end):
    assert _of(f"{sep}{end}a;b\n") == (delimiter, "a;b\n")
    assert _of(f"{sep}{end}a;b\n", "|") == ("|", "a;b\n")


def test_what_the_caller_says_decides():
    assert _of("id;name\n1;2\n", ",") == (",", "id;name\n1;2\n")
    assert _of("id:name\n1:2\n", ":") == (":", "id:name\n1:2\n")


@pytest.mark.parametrize("text", ["id:name\n1:a\n", "id^name\n1^a\n2^b\n", '"id,name"\n"1,a"\n', "id\x01a\n1\x012\n"])
def test_one_column_that_looks_like_several_is_refused(text):
    with pytest.raises(CliError, match=r"has one column, .*--delimiter") as caught:
        _of(text)
    assert caught.value.code == ExitCode.USAGE


def test_a_file_that_has_columns_in_two_ways_is_refused():
    with pytest.raises(CliError, match="columns by ',' and by ';': --delimiter says"):
        _of("a,b;c\n1,2;3\n")


def test_a_tsv_file_is_separated_by_tabs_or_refused():
    assert _of("last, first\tage\nDoe, J\t3\n", is_tab_separated=True)[0] == "\t"
    assert _of("title\nx\n", is_tab_separated=True)[0] == "\t"
    with pytest.raises(CliError, match="has one column"):
        _of("a;b\n1;2\n", is_tab_separated=True)


def test_utf_16_without_a_mark_is_refused():
    with pytest.raises(CliError, match="UTF-16 without a byte-order mark"):
        _of("a;b\n".encode("utf-16-le").decode())


def test_only_the_header_is_read_where_it_tells_enough():
    def lines():
        yield "a;b\n"
        raise AssertionError

    assert delimiter_of(Lines(lines()), "f.csv", said=None, is_tab_separated=False) == ";"


def test_a_record_is_split_into_cells_that_are_in_quotes_or_not():
    assert split('a,"b ""x"", c",,""\r\n', ",") == [("a", False), ('b "x", c', True), ("", False), ("", True)]
    assert split('"a\n",b"c', ",") == [("a\n", True), ('b"c', False)]
    assert split("\n", ",") == [("", False)]
