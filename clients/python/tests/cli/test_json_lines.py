import io

import pytest

from headwater_client.cli.errors import CliError
from headwater_client.cli.push.json_lines import documents


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a":1}\n{"a":2}\n', [(1, b'{"a":1}\n'), (2, b'{"a":2}\n')]),
        (b'{"a":1}\n{"a":2}', [(1, b'{"a":1}\n'), (2, b'{"a":2}\n')]),
        (b'{"a":1}\r\n{"a":2}\r\n', [(1, b'{"a":1}\n'), (2, b'{"a":2}\n')]),
        (b'{"a":1}\r{"a":2}\r', [(1, b'{"a":1}\n'), (2, b'{"a":2}\n')]),
        (b'{"a":1}\r\r\n{"a":2}\n', [(1, b'{"a":1}\n'), (3, b'{"a":2}\n')]),
        (b'\n \t\n{"a":1}\n\r\n\n{"a":2}', [(3, b'{"a":1}\n'), (6, b'{"a":2}\n')]),
        (b'\xef\xbb\xbf{"a":1}\n', [(1, b'{"a":1}\n')]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbf\n", []),
        (b"", []),
    ],
)
def test_lines_that_are_not_blank_are_handed_on_with_their_numbers(text, found):
    assert list(documents(io.BytesIO(text), "books.ndjson")) == found


def test_what_a_line_holds_is_not_looked_at():
    odd = b'  {"a": 1.50, "b": [1,2] }\x0b\n'
    assert list(documents(io.BytesIO(odd), "books.ndjson")) == [(1, odd)]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (b'[\n  {"a": 1},\n  {"a": 2}\n]\n', 1, "a JSON array"),
        (b'[{"a": 1}, {"a": 2}]', 1, "a JSON array"),
        (b"\xef\xbb\xbf\n\n  [ \r\n", 3, "a JSON array"),
        (b'{\n  "a": 1\n}\n', 1, "JSON over several lines"),
    ],
)
def test_json_over_several_lines_is_refused_with_a_hint(text, line, said):
    with pytest.raises(CliError, match=f"books.ndjson, line {line}: this is {said}.* --format json reads it"):
        list(documents(io.BytesIO(text), "books.ndjson"))


@pytest.mark.parametrize("text", [b"[1, 2]\n", b'{"a":1}\n[\n', b"nonsense\n"])
def test_other_lines_are_left_to_the_server(text):
    assert [line for _, line in documents(io.BytesIO(text), "books.ndjson")] == text.splitlines(keepends=True)
