import ctypes
import json
import mmap
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from headwater.domain.document import document_id
from headwater.ingest.scanner.compiler import plan_of
from headwater.ingest.scanner.library import _library, line_offsets, scan
from lines import scanned

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=8,
)
#: PROT_NONE
_NO_ACCESS = 0
WHOLE = {
    *("0", "-1", "12", "999999999999999999", "1.5", "-0.25", "1e5", "1E-7", "2.5e+10", "0.1", "1.0", "0e0"),
    *(
        "true",
        "false",
        "null",
        '""',
        '"a"',
        "[]",
        "{}",
        '[1, "a", {"b": []}]',
        '"\\n"',
        '"\\u00e9"',
        '"\\ud83d\\ude00"',
    ),
}
BROKEN = {
    *("01", "-", "1.", ".5", "1e", "1e+", "+1", "- 1", "0x1", "1_0", "NaN", "Infinity", "-Infinity", "1.e3", "--1"),
    *("tru", "trueish", "nul", "falsee", "True", "[", "]", "[1,]", "[,1]", "[1 2]", "{", '{"a"}', '{"a":}', '{"a":1,}'),
    *('{"a" 1}', "{a:1}", "{1:1}", '"', '"a', "'a'", '"\\x"', '"\\u12"', '"\\u12g4"', '"\\ud83d"', '"\\ude00"', '"\\"'),
    *('"\\ud83d\\n"', '"\\ud83d\\ud83d"', '"\t"', '"\x00"', '"\x1f"', "1 2", '"a" "b"', "", ","),
}


def with_value(text):
    return b'{"id": "a", "x": ' + text.encode() + b"}"


def test_ids_come_in_the_order_of_the_lines():
    assert scanned([b'{"id": "b"}', b'{"id": "a"}']) == ["b", "a"]


def test_what_is_not_taken_is_named_by_its_place():
    data = b'{"id": "a"}\n{"id": []}\nnonsense\n{"id": "b"}\n'
    ids, missed = scan(plan_of(None, field="id"), data, line_offsets(data))
    assert ids.to_pylist() == ["a", "", "", "b"]
    assert missed == [1, 2]


@pytest.mark.parametrize("text", sorted(WHOLE))
def test_a_document_may_hold_any_value(text):
    assert scanned([with_value(text)]) == ["a"]


@pytest.mark.parametrize("text", sorted(BROKEN))
def test_what_is_not_json_is_not_taken(text):
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(with_value(text))
    assert scanned([with_value(text)]) == [None]


@pytest.mark.parametrize(
    "line", [b'{"id": "a"', b'{"id": "a"}}', b'{"id": "a"} x', b'{"id": "a",}', b'"a"', b"7", b"["]
)
def test_a_document_is_one_whole_object(line):
    assert scanned([line]) == [None]


def test_white_space_may_stand_between_all_parts():
    assert scanned([b' \t{ "x" :\t[ 1 , 2 ] , "y" : { } ,"id"  :  "a" }\t ']) == ["a"]


@pytest.mark.parametrize(
    ("text", "doc_id"),
    [
        ('"a b"', "a b"),
        ('"é\U0001f600"', "é\U0001f600"),
        ('""', ""),
        ("7", "7"),
        ("-12", "-12"),
        ("999999999999999999", "999999999999999999"),
        *((text, None) for text in ('"a\\n"', "-0", "1.0", "1e3", "1" * 19, "true", "null", "[]", "{}")),
    ],
)
def test_an_id_is_taken_as_it_stands(text, doc_id):
    assert scanned([b'{"id": ' + text.encode() + b"}"]) == [doc_id]


def test_of_an_object_within_a_document_the_id_is_no_id():
    assert scanned([b'{"x": {"id": "b"}, "id": "a"}', b'{"x": {"id": "b"}}']) == ["a", None]


def test_a_property_that_comes_twice_is_left_to_the_general_way():
    schema = {"properties": {"x": True}}
    assert scanned([b'{"id": "a", "id": "b"}', b'{"id": "a", "x": 1, "x": 2}'], schema) == [None, None]


def test_a_name_with_an_escape_is_left_to_the_general_way():
    assert scanned([b'{"\\u0069d": "a"}', b'{"id": "a", "\\u0069d": 1}']) == [None, None]


@pytest.mark.parametrize(("depth", "is_taken"), [(60, True), (100, False), (100_000, False)])
def test_what_is_nested_deeply_is_left_to_the_general_way(depth, is_taken):
    assert scanned([with_value("[" * depth + "]" * depth)]) == ["a" if is_taken else None]


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({"minimum": 0.5}, "0.5"),
        ({"minimum": 90}, "90.000000000000001"),
        ({"maximum": 2.5}, "2.50000000000000000001"),
        ({"exclusiveMaximum": 1}, "0.99999999999999999999"),
        ({"exclusiveMinimum": 0}, "0.0"),
        ({"exclusiveMinimum": 0}, "1e-99"),
        ({"minimum": -180, "maximum": 180}, "13.404954000000001"),
        ({"minimum": 0}, "-0.0"),
        ({"maximum": 10}, "1e2"),
        ({"maximum": 10}, "0.1e2"),
        ({"minimum": 1e15}, "999999999999999.9"),
    ],
)
def test_a_fraction_near_a_bound_is_never_taken_wrongly(bounds, text):
    schema = {"properties": {"x": {"type": "number", **bounds}}}
    is_within = {
        "minimum": lambda value, bound: value >= bound,
        "maximum": lambda value, bound: value <= bound,
        "exclusiveMinimum": lambda value, bound: value > bound,
        "exclusiveMaximum": lambda value, bound: value < bound,
    }
    matches = all(is_within[keyword](float(text), bound) for keyword, bound in bounds.items())
    assert matches or scanned([with_value(text)], schema) == [None]


@given(st.floats(-200, 200), st.floats(-100, 100), st.floats(-100, 100))
@settings(max_examples=examples(500))
def test_fractions_are_held_to_their_bounds(value, least, most):
    schema = {"properties": {"x": {"minimum": least, "exclusiveMaximum": most}}}
    text = repr(value)
    is_taken = scanned([with_value(text)], schema) == ["a"]
    assert not is_taken or least <= value < most
    is_far = min(abs(value - least), abs(value - most)) > 1e-6 and "e" not in text
    assert is_taken or not (is_far and least <= value < most)


@settings(max_examples=examples(500), deadline=None)
@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4), st.booleans(), st.text(max_size=4))
def test_any_document_is_taken_with_its_id_or_not_at_all(members, is_ascii, doc_id):
    document = {**members, "id": doc_id}
    line = json.dumps(document, ensure_ascii=is_ascii).encode(errors="replace")
    [found] = scanned([line])
    if found is not None:
        assert found == document_id(msgspec.json.decode(line), "id")


def test_of_strings_what_is_taken_is_utf_8():
    rows = [bytes([first, second]) for first in range(0x80, 0x100) for second in range(0x20, 0x100)]
    marks = (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
    rows += [bytes([first, second, third]) for first in range(0xE0, 0xF8) for second in marks for third in marks]
    rows += [bytes([first, second, 0x80, last]) for first in range(0xF0, 0xF8) for second in marks for last in marks]
    rows = [row for row in rows if b"\\" not in row and b'"' not in row]
    lines = [b'{"x": "%b%b%b", "id": "a"}' % (b"x" * pad, row, b"y" * pad) for row in rows for pad in (0, 9)]
    for line, doc_id in zip(lines, scanned(lines), strict=True):
        assert (doc_id == "a") == _is_text(line), line


def _is_text(line):
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("text", ["abc", "éé", "a\U0001f600", "x" * 100, "é" * 50, "\t\n", 'a"b'])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_lengths_are_in_characters(text, is_ascii):
    line = json.dumps({"id": "a", "x": text}, ensure_ascii=is_ascii).encode()
    length = len(text)

    def of(least, most):
        return scanned([line], {"properties": {"x": {"minLength": least, "maxLength": most}}})

    assert of(length, length) == ["a"]
    assert of(length + 1, length + 1) == of(0, length - 1) == [None]


@pytest.mark.parametrize("place", range(80))
def test_a_character_that_ends_a_string_is_found_wherever_it_stands(place):
    before = "x" * place
    assert scanned([with_value(f'"{before}"'), with_value(f'"{before}\\n"')]) == ["a", "a"]
    assert scanned([with_value(f'"{before}\x01"'), with_value(f'"{before}')]) == [None, None]


def test_nothing_is_read_outside_of_the_block():
    schema = {"properties": {"id": {"pattern": "^a*$"}, "x": {"enum": ["abcdefgh", "b"]}, "flag": {"type": "boolean"}}}
    plan, rng = plan_of(schema, field="id"), random.Random(7)
    whole = b'{"id": "aaaaaaaa", "x": "abcdefgh", "flag": false, "n": [-1.5e10, null, {"\xc3\xa9": "\\ud83d\\ude00"}]}'
    texts = [whole[:end] for end in range(len(whole) + 1)]
    texts += [bytes(rng.choice(whole) for _ in range(rng.randrange(60))) for _ in range(2000)]
    for text in texts:
        before_the_wall(text + b"\n", plan)


def before_the_wall(data, plan):
    """Scan a block behind which no memory may be read: it would be the end of this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    page = mmap.PAGESIZE
    budget = mmap.mmap(-1, 2 * page)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(budget))
    assert libc.mprotect(ctypes.c_void_p(begin + page), page, _NO_ACCESS) == 0
    start = page - len(data)
    budget[start:page] = data
    at = ctypes.c_char_p(begin + start)
    offsets = np.empty(len(data) + 2, np.int32)
    _library.headwater_lines(at, len(data), offsets)
    copied, (starts, numbers, ends) = np.empty(len(data) + 1, np.uint8), np.empty((3, len(data) // 2 + 2), np.int32)
    _library.headwater_mend(at, len(data), copied, ends, numbers, starts, ctypes.byref(ctypes.c_int32()))
    ids, ends, missed = np.empty(len(data), np.uint8), np.empty(2, np.int32), np.empty(1, np.int32)
    _library.headwater_scan(plan, at, np.array([0, len(data)], np.int32), 1, ids, ends, missed)
    assert libc.mprotect(ctypes.c_void_p(begin + page), page, mmap.PROT_READ | mmap.PROT_WRITE) == 0
