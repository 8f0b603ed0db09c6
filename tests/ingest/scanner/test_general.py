"""The native code and what stands in for it: of both, the same lines."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from headwater.ingest.scanner import general, library
from headwater.ingest.scanner.compiler import plan_of

PIECES = st.lists(st.sampled_from([b"\n", b"\r", b" ", b"\t", b"a", b"\xa0", b"{}", b"\0"]), max_size=12).map(b"".join)


@pytest.fixture(params=[library, general], ids=["native", "general"])
def scanner(request):
    return request.param


@pytest.mark.parametrize("data", [b"", b"{}", b"{}\r\n", b"\n", b"{}\n\n", b"{}\n {}\n", b"\t{}\n", b"{}\n{}"])
def test_lines_that_are_not_good_as_they_stand_have_no_offsets(scanner, data):
    assert scanner.line_offsets(data) is None


@pytest.mark.parametrize(
    ("data", "lines", "numbers", "starts"),
    [
        (b"a\r\nb\rc\n\r\n \t\r\r\nd", [b"a", b"b", b"c", b"d"], [0, 1, 2, 6], [0, 3, 5, 14]),
        (b"\n" * 9, [], [], []),
        (b" {} \r", [b" {} "], [0], [0]),
        (b"\r\n\n\r", [], [], []),
        (b"", [], [], []),
    ],
)
def test_mended_lines_end_in_one_line_feed_and_none_is_blank(scanner, data, lines, numbers, starts):
    found = scanner.mended(data)
    assert found.data == b"".join(line + b"\n" for line in lines)
    assert [found.data[begin:end] for begin, end in pairwise(found.offsets)] == [line + b"\n" for line in lines]
    assert (found.numbers.tolist(), found.starts.tolist()) == (numbers, starts)
    assert found.lines == len(re.findall(rb"\r\n|\r|\n|[^\r\n]+\Z", data))


def test_offsets_are_where_lines_begin_and_where_the_last_one_ends(scanner):
    assert scanner.line_offsets(b"{}\n[1]\nx\n").tolist() == [0, 3, 7, 9]


@settings(deadline=None, max_examples=examples(500))
@given(PIECES)
def test_both_find_the_same_lines(data):
    offsets = [None if found is None else found.tolist() for found in map(_offsets(data), (library, general))]
    assert offsets[0] == offsets[1]
    native, other = library.mended(data), general.mended(data)
    assert (native.data, native.lines) == (other.data, other.lines)
    for name in ("offsets", "numbers", "starts"):
        assert getattr(native, name).tolist() == getattr(other, name).tolist()
        assert getattr(native, name).dtype == getattr(other, name).dtype


def _offsets(data):
    return lambda scanner: scanner.line_offsets(data)


def test_without_the_native_code_every_document_takes_the_general_path():
    data = b'{"id": "a"}\n{"id": "b"}\n'
    ids, missed = general.scan(plan_of(None, field="id"), data, general.line_offsets(data))
    assert (ids.to_pylist(), missed) == (["", ""], [0, 1])
    assert ids.validate(full=True) is None
