import json
from hashlib import sha256

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from budget import examples
from documents import DOCUMENTS, VALUES, spellings
from headwater.domain.document import content_id, document_id


@pytest.mark.parametrize(
    ("value", "doc_id"),
    [
        ("sku-9", "sku-9"),
        ("", ""),
        ("ü\0'\"", "ü\0'\""),
        (7, "7"),
        (0, "0"),
        (-3, "-3"),
        (2**64, "18446744073709551616"),
        (10**300, "1" + "0" * 300),
    ],
)
def test_a_text_is_the_id_as_it_is_and_an_integer_in_decimal(value, doc_id):
    assert document_id({"id": value, "other": 1}, "id") == doc_id


@pytest.mark.parametrize("value", [True, False, 1.5, 1.0, None, ["a"], {"id": "a"}])
def test_a_value_of_another_type_makes_the_id_from_the_content(value):
    document = {"id": value, "other": 1}
    assert document_id(document, "id") == content_id(document)


def test_an_absent_field_makes_the_id_from_the_content():
    assert document_id({"other": "a"}, "id") == content_id({"other": "a"})


def test_without_a_field_the_id_is_made_from_the_content():
    assert document_id({"id": "a"}, None) == content_id({"id": "a"})


def test_an_empty_name_is_a_field_like_any_other():
    assert document_id({"": "a"}, "") == "a"


def test_a_content_id_is_the_hash_of_the_document_with_keys_sorted_and_white_space_removed():
    canonical = '{"a":[true,null,{"x":1,"y":2}],"b":"ü\\n"}'.encode()
    document = {"b": "ü\n", "a": [True, None, {"y": 2, "x": 1}]}
    assert content_id(document) == "sha256:" + sha256(canonical).hexdigest()


@settings(deadline=None, max_examples=examples(100))
@given(st.data(), DOCUMENTS)
def test_two_ways_to_write_one_document_have_one_id(data, document):
    first, second = (msgspec.json.decode(data.draw(spellings(document))) for _ in range(2))
    assert document_id(first, None) == document_id(second, None)


@settings(deadline=None, max_examples=examples(100))
@given(VALUES, VALUES)
def test_different_contents_have_different_ids(one, other):
    assume(json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    assert content_id({"a": one}) != content_id({"a": other})
