import io
import json

import pytest

from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.push.json_values import documents


def _found(text: str) -> list[tuple[int, bytes]]:
    return list(documents(io.BytesIO(text.encode()), "books.json"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[]", []),
        ("", []),
        (" \n", []),
        ('[{"a":1},{"a":2}]', [(1, b'{"a":1}\n'), (1, b'{"a":2}\n')]),
        ('[\n  {"a": 1},\n  {"a": 2}\n]\n', [(2, b'{"a": 1}\n'), (3, b'{"a": 2}\n')]),
        ('\ufeff{"a":1}\n{"a":2}\n', [(1, b'{"a":1}\n'), (2, b'{"a":2}\n')]),
        ('{\n "a": 1\n}\n', [(1, b'{  "a": 1 }\n')]),
        ('[1, "x", null]', [(1, b"1\n"), (1, b'"x"\n'), (1, b"null\n")]),
    ],
)
def test_an_array_and_values_one_after_another_are_documents(text, found):
    assert _found(text) == found


def test_numbers_and_escapes_stay_as_they_were():
    odd = '{"price": 1.50, "big": 1e400, "text": "\\u00e4\\n"}'
    assert _found(f"[\n{odd}\n]") == [(2, odd.encode() + b"\n")]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 50])
def test_values_may_lie_across_what_is_read_at_a_time(block):
    values = [{"id": number, "text": "ä" * number, "is": [True, None, 1.5]} for number in range(30)]
    text = json.dumps(values, indent=1, ensure_ascii=False)
    found = documents(io.BytesIO(text.encode()), "books.json", block=block)
    assert [json.loads(line) for _, line in found] == values


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"a":1}\n{"a":2}]', "books.json, line 2: expected ',' or ']'"),
        ('[{"a":1},\n{"a" 2}]', "books.json, line 2: this is not JSON: expecting ':' delimiter"),
        ('[{"a":1},\n{"a": [\n1, x]}]', "books.json, line 3: this is not JSON: expecting value"),
        ('[{"a":1}', "books.json, line 1: expected ',' or ']'"),
        ('[{"a":1}] x', "books.json, line 1: expected nothing behind the array"),
        ('{"a":', "books.json, line 1: this is not JSON: expecting value"),
        ('{"a": "b\nc"}', "books.json, line 1: this is not JSON: invalid control character"),
        ("[" * 100_000, "books.json, line 1: it is nested too deep"),
    ],
)
def test_what_is_no_json_is_told_with_its_line(text, says):
    with pytest.raises(CliError) as caught:
        _found(text)
    assert (str(caught.value), caught.value.code) == (says, ExitCode.REJECTED)


def test_a_fault_is_told_without_reading_on_to_the_end():
    class Endless(io.RawIOBase):
        read_so_far = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            self.read_so_far += len(buffer)
            assert self.read_so_far < 64 << 20, "it reads on and on"
            piece = b'[{"a":1}, {"a" 2}, ' + b'{"a":3}, ' * len(buffer)
            buffer[:] = piece[: len(buffer)]
            return len(buffer)

    with pytest.raises(CliError, match="expecting ':' delimiter"):
        list(documents(io.BufferedReader(Endless()), "endless.json"))
