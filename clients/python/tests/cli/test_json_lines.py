import io

import pytest

from headwater_client.cli.pushing.json_lines import documents


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
    assert list(documents(io.BytesIO(text))) == found


def test_what_a_line_holds_is_not_looked_at():
    odd = b'  {"a": 1.50, "b": [1,2] }\x0b\n'
    assert list(documents(io.BytesIO(odd))) == [(1, odd)]
