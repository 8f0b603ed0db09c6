import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from builders import SANDBOX
from documents import DOCUMENTS, cuttings, line_of, spellings
from headwater.domain.document import content_id, document_id
from headwater.domain.errors import LONGEST_DETAIL, MOST_FLAWS, DocumentInvalid, Flaw, SchemaInvalid, UploadBroken
from headwater.domain.external import Definition
from headwater.ingest.lines import LineCutter
from headwater.ingest.validation import Checker, LineErrors

PRICED = {"properties": {"price": {"type": "number"}}}
#: It walks down the field ``a`` as far as it goes, to an integer.
WALKING = {"properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "integer"}]}}, "type": "object"}
ARRAY = " (an array over several lines? Send its elements, each on a line of its own: jq -c '.[]')"
OBJECT = " (a document over several lines? Each must stand on a line of its own, as jq -c . has it)"
HALF = "a \\u escape names half of a surrogate pair, which is no character"


def a_checker(schema=None, field="id"):
    definition = Definition(headers={}, parameters=(), schema=schema, doc_id_field=field)
    return Checker(definition, external="Reviews", sandbox=SANDBOX)


def check(body, *, schema=None, field="id"):
    """The ids of a body's documents, and what is wrong with them."""
    checker, faults, cutter, ids = a_checker(schema, field), LineErrors(), LineCutter(longest=1 << 30), []
    for block in [*cutter.feed(body), *cutter.finish()]:
        ids += checker.ids(block, faults).to_pylist()
    return ids, faults


def the_flaw(body, **options):
    """The one thing that is wrong with a body."""
    [flaw] = check(body, **options)[1].flaws
    return flaw


def error_of(body, *, lines, **options):
    faults = check(body, **options)[1]
    assert faults.lines == lines
    return faults.error(external="Reviews")


def nested(levels, value=b"1"):
    return b'{"a":' * levels + value + b"}" * levels


def test_ids_come_in_the_order_of_the_lines():
    assert check(b'{"id": "b"}\n{"id": 7}\n{"id": "a"}\n')[0] == ["b", "7", "a"]


def test_a_document_without_its_id_field_gets_an_id_from_its_content():
    assert check(b'{"n": 1}\n{"id": null}\n')[0] == [content_id({"n": 1}), content_id({"id": None})]


def test_without_an_id_field_every_id_is_made_from_the_content():
    assert check(b'{"id": "a"}\n', field=None)[0] == [content_id({"id": "a"})]


def test_without_a_schema_any_object_is_taken():
    assert not check(b'{}\n{"": {"x": [1.5, null, {}]}}\n')[1]


def test_a_schema_of_true_takes_any_object_and_false_none():
    assert [check(b"{}", schema=schema)[1].invalid for schema in (True, False)] == [0, 1]


def test_a_document_that_matches_is_taken():
    assert check(b'{"id": "a", "price": 1.5}', schema=PRICED)[0] == ["a"]


def test_a_schema_that_does_not_compile_makes_no_checker():
    with pytest.raises(SchemaInvalid):
        a_checker({"type": "bogus"})


def test_of_a_key_that_comes_twice_the_last_value_counts():
    assert check(b'{"id": "a", "id": "b"}')[0] == ["b"]


def test_an_empty_key_may_be_the_id_field():
    assert check(b'{"": "a"}', field="")[0] == ["a"]


@pytest.mark.parametrize("digits", [19, 20, 40, 4300])
def test_a_long_integer_is_an_id_to_its_last_digit(digits):
    assert check(b'{"id": ' + b"9" * digits + b"}")[0] == ["9" * digits]


@pytest.mark.parametrize(
    ("line", "offset", "detail"),
    [
        (b'{"id": ', 7, "Expecting value at column 8"),
        (b'{"id": "a"', 10, "Expecting ',' delimiter at column 11"),
        (b'{"id": "a', 7, "Unterminated string starting at column 8"),
        (b'{"id": "a"} x', 12, "Extra data at column 13"),
        (b'{"id": "a"}{}', 11, "Extra data at column 12"),
        (b"{'id': 1}", 1, "Expecting property name enclosed in double quotes at column 2"),
        (b'{"id": 01}', 8, "Expecting ',' delimiter at column 9"),
        (b'{"id": +1}', 7, "Expecting value at column 8"),
        (b'{"id": .5}', 7, "Expecting value at column 8"),
        (b'{"id": tru}', 7, "Expecting value at column 8"),
        (b"nonsense", 0, "Expecting value at column 1"),
        (b'{"id": "a\x01b"}', 9, "Invalid control character at column 10"),
        (b'{"id": "a\0b"}', 9, "Invalid control character at column 10"),
        (b'{"id": "\\x"}', 8, "Invalid \\escape at column 9"),
        (b'{"id": "\\u12"}', 9, None),
        (b"\0", 0, "Expecting value at column 1"),
        (b'\xef\xbb\xbf{"id": 1}', 0, None),
        (b'{"id": "\xff"}', 8, "byte 0xff is not UTF-8: invalid start byte"),
        (b'{"\xc3": 1}', 2, "byte 0xc3 is not UTF-8: invalid continuation byte"),
        (b'{"id": "\xed\xa0\x80"}', 8, "byte 0xed is not UTF-8: invalid continuation byte"),
        (b'{"id": "\xc0\xaf"}', 8, "byte 0xc0 is not UTF-8: invalid start byte"),
        (b"\xff\xfe{\0}\0", 0, "byte 0xff is not UTF-8: invalid start byte"),
        (b'{"id": "\\ud800"}', 8, HALF),
        (b'{"id": "\\udc00"}', 8, HALF),
        (b'{"id": "\\ud800x"}', 8, HALF),
        (b'{"id": "\\ud800\\n"}', 8, HALF),
        (b'{"id": "\\udc00\\ud800"}', 8, HALF),
        (b'{"id": "\\uD83D\\uDE00 \\uDBFF"}', 21, HALF),
        (b'{"id": "\\\\ud800 \\udfff"}', 16, HALF),
        (b'{"id": "\\\\\\ud800"}', 10, HALF),
        (b'{"\\ud800": 1}', 2, HALF),
        (b'{"id": NaN}', 0, "NaN is not JSON; use null, or leave the field out"),
        (b'{"id": Infinity}', 0, "Infinity is not JSON; use null, or leave the field out"),
        (b'{"id": -Infinity}', 0, "-Infinity is not JSON; use null, or leave the field out"),
        (b'{"id": 1e999}', 0, "/id: the number 1e999 is out of the range of a double"),
        (b'{"id": [[0, -1e999]]}', 0, "/id/0/1: the number -1e999 is out of the range of a double"),
        (b"1e999", 0, "the value: the number 1e999 is out of the range of a double"),
        (b"[", 1, "Expecting value at column 2" + ARRAY),
        (b'[{"id": 1},', 11, "Expecting value at column 12" + ARRAY),
        (b"  [ {", 5, "Expecting property name enclosed in double quotes at column 6" + ARRAY),
        (b"{", 1, "Expecting property name enclosed in double quotes at column 2" + OBJECT),
        (b'{"id": ' + b"9" * 5000 + b"}", 0, "a number of 5000 digits is too long; send it as a string"),
        (b'{"id": -' + b"9" * 5000 + b"}", 0, "a number of 5000 digits is too long; send it as a string"),
        (b"[" * 100_000, 0, "it is nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, 0, "it is nested too deeply"),
        (nested(100_000), 0, "it is nested too deeply"),
    ],
)
@pytest.mark.parametrize("schema", [None, WALKING], ids=["any", "schema"])
def test_a_line_that_is_not_json_is_told_where_and_why(line, offset, detail, schema):
    before = '{"ä": "€"}\r\n\n'.encode()
    flaw = the_flaw(before + line + b"\n{}\n", schema=schema)
    assert (flaw.line, flaw.offset) == (3, len(before) + offset)
    assert detail in {None, flaw.detail}


@pytest.mark.parametrize("fault", [b'" x', b"\xff", b"\x01", b"\\ud800"])
def test_the_offset_of_a_fault_counts_bytes_not_characters(fault):
    line = '{"€ä😀": "ü'.encode() + fault
    assert the_flaw(line + b'"}').offset == len(line) - len(fault.lstrip(b'" '))


def test_a_broken_line_is_counted_as_broken():
    faults = check(b'{"id": \n')[1]
    assert (faults.broken, faults.invalid) == (1, 0)


@pytest.mark.parametrize(
    ("line", "noun"),
    [
        (b"[1, 2]", "an array (send each of its elements on a line of its own)"),
        (b"[" * 900 + b"]" * 900, "an array (send each of its elements on a line of its own)"),
        (b'"text"', '"text"'),
        ('"ü"'.encode(), '"ü"'),
        (b"7", "7"),
        (b"-1.5", "-1.5"),
        (b"true", "true"),
        (b"null", "null"),
    ],
)
@pytest.mark.parametrize("schema", [None, True, PRICED])
def test_a_value_that_is_no_object_is_invalid(line, noun, schema):
    assert the_flaw(b"{}\n" + line, schema=schema) == Flaw(
        line=2, offset=3, pointer="", keyword="type", detail=f"a document must be a JSON object, not {noun}"
    )


def test_every_depth_of_arrays_is_a_fault_and_no_accident():
    found = [check(b"[" * levels + b"]" * levels)[1] for levels in range(1, 1100)]
    assert {(faults.broken, faults.invalid) for faults in found} == {(0, 1), (1, 0)}


def test_a_document_that_does_not_match_is_told_where_by_what_and_which_it_is():
    before = '{"id": "ä"}\n\n'.encode()
    assert the_flaw(before + b'{"id": "sku-9", "price": "abc"}\n', schema=PRICED) == Flaw(
        line=3,
        offset=len(before),
        doc_id="sku-9",
        pointer="/price",
        keyword="type",
        schema_pointer="/properties/price/type",
        detail='"abc" is not of type "number"',
    )


def test_a_document_without_an_id_is_named_by_its_content():
    assert the_flaw(b'{"price": "abc"}', schema=PRICED).doc_id == content_id({"price": "abc"})


def test_everything_that_is_wrong_with_a_document_is_told():
    found = check(b'{"price": "x"}', schema={"required": ["a", "b"], **PRICED})[1]
    assert found.invalid == 1
    assert sorted(flaw.keyword for flaw in found.flaws) == ["required", "required", "type"]


@pytest.mark.parametrize("levels", [100, 300, 600, 900])
def test_a_deep_document_that_matches_is_taken(levels):
    assert check(nested(levels), schema=WALKING, field="a")[1].flaws == []


@pytest.mark.parametrize("levels", [100, 200])
def test_a_fault_deep_in_a_document_is_found(levels):
    assert check(nested(levels, b'"x"'), schema=WALKING)[1].invalid == 1


@pytest.mark.parametrize("levels", [300, 600, 900])
@pytest.mark.parametrize("schema", [WALKING, {"required": ["b"]}])
def test_a_document_that_is_too_deep_to_say_where_it_fails_is_invalid(levels, schema):
    flaw = the_flaw(b"{}\n" * (schema is WALKING) + nested(levels, b'"x"'), schema=schema, field=None)
    assert flaw.offset == 3 * (schema is WALKING)
    assert "nested too deeply to say where" in flaw.detail


@pytest.mark.parametrize("field", ["id", None])
def test_every_depth_of_objects_is_a_fault_and_no_accident(field):
    found = [check(nested(levels), schema={"required": ["b"]}, field=field)[1] for levels in range(1, 1100, 3)]
    assert {(faults.broken, faults.invalid) for faults in found} == {(0, 1), (1, 0)}


@pytest.mark.parametrize("schema", [PRICED, {"required": [f"f{number}" for number in range(1000)]}])
def test_a_large_document_is_told_the_first_that_is_wrong(schema):
    body = line_of({"id": "a", "price": ["x"] * 20_000})
    assert the_flaw(body, schema=schema).keyword in {"type", "required"}


def test_a_huge_document_is_told_where_it_does_not_match():
    body = line_of({"id": "a", "items": [0] * 1_000_000})
    flaw = the_flaw(body, schema={"properties": {"items": {"items": {"type": "string"}}}})
    assert (flaw.doc_id, flaw.line, flaw.offset) == ("a", 1, 0)
    assert (flaw.pointer, flaw.keyword) == ("/items/0", "type")


def test_a_huge_document_that_matches_is_taken():
    assert check(line_of({"id": "a", "items": ["x"] * 1_000_000}), schema=PRICED)[0] == ["a"]


def test_what_is_told_does_not_quote_at_length():
    flaw = the_flaw(line_of({"id": "i" * 10_000, "price": "p" * 10_000}), schema=PRICED)
    assert max(len(flaw.doc_id), len(flaw.detail)) == LONGEST_DETAIL


@pytest.mark.parametrize(
    ("body", "options", "kind"),
    [(b"{\n", {}, UploadBroken), (b'{"price": "x"}\n', {"schema": PRICED}, DocumentInvalid)],
)
@pytest.mark.parametrize("count", [1, MOST_FLAWS - 1, MOST_FLAWS, MOST_FLAWS + 1, 3 * MOST_FLAWS])
def test_all_faults_are_counted_and_the_first_are_told(body, options, kind, count):
    error = error_of((body + b"{}\n") * count, lines=2 * count, **options)
    assert type(error) is kind
    assert f"{count} of {2 * count} " in error.detail
    assert [flaw.line for flaw in error.flaws] == [2 * place + 1 for place in range(min(count, MOST_FLAWS))]
    assert error.truncated is (count > MOST_FLAWS)


def test_the_faults_of_one_document_are_capped_too():
    schema = {"required": [f"f{number}" for number in range(MOST_FLAWS + 1)]}
    error = error_of(b"{}\n", lines=1, schema=schema)
    assert (len(error.flaws), error.truncated) == (MOST_FLAWS, True)


def test_the_faults_of_one_document_may_be_just_as_many_as_are_told():
    schema = {"required": [f"f{number}" for number in range(MOST_FLAWS)]}
    error = error_of(b"{}\n", lines=1, schema=schema)
    assert (len(error.flaws), error.truncated) == (MOST_FLAWS, False)


def test_one_broken_line_makes_the_upload_broken_and_all_faults_are_told_in_order():
    error = error_of(b'[]\n{\n{"price": "x"}\n', lines=3, schema=PRICED)
    assert type(error) is UploadBroken
    assert error.detail.startswith("1 of 3 lines is not JSON")
    assert [(flaw.line, flaw.keyword) for flaw in error.flaws] == [(1, "type"), (2, None), (3, "type")]


def test_an_invalid_upload_names_its_external():
    assert error_of(b"[]\n{}", lines=2).detail.startswith(
        "1 of 2 documents does not match the schema of External 'Reviews'"
    )


def test_without_faults_there_is_nothing_wrong():
    assert not LineErrors()


@settings(deadline=None, max_examples=examples(300))
@given(
    st.binary(min_size=1, max_size=40)
    | st.text(min_size=1).map(str.encode)
    | st.lists(
        st.sampled_from([*'{}[]:,"\\ 0-1.eE', '"a"', "\\u", "d83d", "d800", "null", "true", "NaN", "é", "1e400"]),
        min_size=1,
    ).map(lambda tokens: "".join(tokens).encode()),
    st.sampled_from([None, WALKING, False]),
    st.sampled_from([None, "a", "id"]),
)
def test_any_line_has_an_id_or_a_fault(line, schema, field):
    line = re.sub(rb"[\r\n]", b"", line)
    ids, faults = check(line, schema=schema, field=field)
    lines = 1 if line.removeprefix(b"\xef\xbb\xbf").strip(b" \t") else 0
    assert len(ids) == lines
    assert ids.count(None) == faults.count
    assert len(faults.flaws) == faults.broken + faults.invalid


@settings(deadline=None, max_examples=examples(100))
@given(st.data(), DOCUMENTS)
def test_a_broken_document_is_told_where_within_its_line(data, document):
    line = line_of(document)[:-1]
    pieces = data.draw(cuttings(line, most=1))
    damaged = data.draw(st.sampled_from([b"\xff", b"\x01", b'"', b"\\", b"}"])).join([pieces[0], b"".join(pieces[1:])])
    faults = check(b"{}\n" + damaged)[1]
    assert all(3 <= flaw.offset <= 3 + len(damaged) and flaw.line == 2 for flaw in faults.flaws)


@settings(deadline=None, max_examples=examples(100))
@given(st.data(), st.lists(DOCUMENTS, max_size=5), st.sampled_from([None, "", "a", "id"]))
def test_any_object_is_taken_without_a_schema_however_it_is_written(data, documents, field):
    written = [data.draw(spellings(document)).replace("\n", " ") for document in documents]
    ids, faults = check("\n".join(written).encode(), field=field)
    assert ids == [document_id(json.loads(text), field) for text in written]
    assert not faults
