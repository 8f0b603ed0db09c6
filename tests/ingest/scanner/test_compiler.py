import json

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from headwater.ingest.scanner.compiler import NotPlain, plan_of
from lines import scanned

ID = {"type": "string"}


def a_schema(properties=None, **more):
    return {"type": "object", "required": ["id"], "properties": {"id": ID} | (properties or {})} | more


def taken(schema, *documents):
    """Which documents the plan takes."""
    ids = scanned([json.dumps(document).encode() for document in documents], schema)
    return [doc_id is not None for doc_id in ids]


def is_plain(schema, field="id"):
    try:
        plan_of(schema, field=field)
    except NotPlain:
        return False
    return True


def test_names_of_properties_may_be_anything_that_needs_no_escape():
    schema = a_schema({"class": {"type": "integer"}, "": {}, "a b\u2028": {}})
    [doc_id] = scanned(['{"id": "a", "class": 1, "": 2, "a b\u2028": 3}'.encode()], schema)
    assert doc_id == "a"
    assert not is_plain(a_schema({'a"b': True}))
    assert not is_plain(a_schema({"a\nb": True}))


def test_properties_that_the_schema_does_not_name_are_as_it_says():
    others = {"id": "a", "x": 1}, {"id": "a", "x": "1"}
    assert taken(a_schema(), *others) == [True, True]
    assert taken(a_schema(additionalProperties=False), *others) == [False, False]
    assert taken(a_schema(additionalProperties={"type": "integer"}), *others) == [True, False]


def test_without_a_schema_a_document_is_any_object_with_an_id():
    documents = {"id": "a"}, {"id": 7, "x": [{}]}, {"id": None}, {}, [], "a"
    assert taken(None, *documents) == taken(True, *documents) == [True, True, False, False, False, False]


def test_the_id_may_be_a_property_that_the_schema_does_not_name():
    assert taken({"type": "object", "properties": {"x": True}}, {"x": 1, "id": "a"}, {"x": 1}) == [True, False]


@pytest.mark.parametrize("required", [["v"], ["v", "id"], ["id", "v"], ["w", "v", "id"]])
def test_the_id_is_that_of_its_field_whatever_is_required_before_it(required):
    for properties in ({}, {"id": ID}, {"id": ID, "v": {"type": "integer"}}, {"v": True, "id": True, "w": True}):
        schema = {"required": required, "properties": properties}
        assert scanned([b'{"id": "x", "v": 1, "w": "y"}'], schema) == ["x"]


def test_what_is_required_may_be_a_property_that_the_schema_does_not_name():
    schema = a_schema(required=["id", "x"], additionalProperties={"type": "integer"})
    assert taken(schema, {"id": "a", "x": 1}, {"id": "a", "y": 1}, {"id": "a", "x": "1"}) == [True, False, False]


def test_a_schema_may_refer_to_its_definitions_and_to_itself():
    node = {"type": "object", "properties": {"of": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}}
    schema = a_schema({"x": {"$ref": "#/$defs/Node", "title": "X"}}, **{"$defs": {"Node": node}})
    good, bad = {"id": "a", "x": {"of": [{"of": []}]}}, {"id": "a", "x": {"of": [{"of": [1]}]}}
    assert taken(schema, good, bad) == [True, False]


def test_a_schema_as_pydantic_writes_it_is_plain():
    seller = {"type": "object", "title": "Seller", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    schema = {
        "$defs": {"Seller": seller},
        "title": "Offer",
        "type": "object",
        "required": ["id", "price"],
        "properties": {
            "id": {"type": "string", "title": "Id", "pattern": "^[a-z]+-\\d{2,}$"},
            "price": {"type": "number", "exclusiveMinimum": 0},
            "seller": {"anyOf": [{"$ref": "#/$defs/Seller"}, {"type": "null"}], "default": None},
            "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}], "default": None},
        },
    }
    good = {"id": "offer-10", "price": 0.5, "seller": {"name": "Ö"}, "tags": None}
    bad = [good | each for each in ({"id": "offer-1"}, {"price": 0}, {"seller": {}}, {"tags": [1]}, {"seller": "x"})]
    assert taken(schema, good, *bad) == [True, False, False, False, False, False]


@pytest.mark.parametrize(
    "properties",
    [
        {"x": {"type": "string", "minLength": 1, "maxLength": 3}},
        {"x": {"type": "integer", "minimum": 0.5, "exclusiveMaximum": 7}},
        {"x": {"type": "number", "exclusiveMinimum": 0, "maximum": 2.5}},
        {"x": {"type": ["string", "null"], "title": "X"}},
        {"x": {"enum": ["a", "b"]}},
        {"x": {"const": "a"}},
        {"x": {"type": "array", "items": {"type": "boolean"}, "minItems": 1}},
        {"x": {"type": "object", "properties": {"y": {"type": "integer"}}, "required": ["y"]}},
        {"x": True},
        {"x": {"type": "string", "format": "date"}},
        {"x": {"enum": ["a", None]}},
        {"x": {"minLength": 1}},
        {"x": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]}},
        {"x": {"type": "object", "additionalProperties": {"type": "integer"}}},
        {"x": {"type": "object", "properties": {"y": {"type": "string", "pattern": "^a"}}}},
    ],
)
def test_these_schemas_are_plain(properties):
    assert is_plain(a_schema(properties))


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"properties": {"x": True}, "additionalProperties": False},  # there is no id
        a_schema({"x": False}),
        a_schema({"x": {"type": "integer", "multipleOf": 2}}),
        a_schema({"x": {"type": "array", "uniqueItems": True}}),
        a_schema({"x": {"type": "array", "prefixItems": [True]}}),
        a_schema({"x": {"$ref": "#/properties/id"}}),
        a_schema({"x": {"$ref": "#/$defs/nowhere"}}),
        a_schema({"x": {"$ref": "#/$defs/x"}}, **{"$defs": {"x": {"$ref": "#/$defs/x"}}}),
        a_schema({"x": {"enum": [1, 2]}}),
        a_schema({"x": {"enum": ["a"], "const": "a"}}),
        a_schema({"x": {"enum": [str(number) for number in range(300)]}}),
        a_schema({"x": {"type": "integer", "minimum": 1 << 60}}),
        a_schema({"x": {"type": "integer", "minimum": 1, "exclusiveMinimum": True}}),
        a_schema({"x": {"type": "string", "pattern": "a"}}),
        a_schema({"x": {"type": "string", "format": "date"}}, **{"$schema": "http://json-schema.org/draft-07/schema#"}),
        a_schema({"x": {"anyOf": [{"type": "string"}, {"minLength": 2}]}}),
        a_schema({"x": {"anyOf": [{"type": "integer"}, {"type": "number"}]}}),
        a_schema({"x": {"anyOf": [{"type": "null"}], "maxLength": 2}}),
        a_schema({str(number): True for number in range(300)}),
        a_schema(required=["id", "nowhere"], additionalProperties=False),
        a_schema(patternProperties={"^x": True}),
        a_schema(allOf=[True]),
        a_schema(minProperties=2),
        a_schema({"x": {"$id": "https://example.org/"}}),
    ],
)
def test_a_schema_that_says_more_is_not(schema):
    assert not is_plain(schema)


numbers = st.one_of(st.integers(-3, 12), st.sampled_from([0.5, 1.0, 2.5, 1e2, -1.0]))
constraints = {
    "string": st.fixed_dictionaries(
        {},
        optional={
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(0, 4),
            "format": st.just("date"),
            "pattern": st.sampled_from(["^a", "^[a-z]*$", "^\\w{1,3}$"]),
        },
    ),
    "integer": st.fixed_dictionaries({}, optional={"minimum": numbers, "exclusiveMaximum": numbers}),
    "number": st.fixed_dictionaries({}, optional={"exclusiveMinimum": numbers, "maximum": numbers}),
    "boolean": st.just({}),
    "null": st.just({}),
}


def of_type(name):
    return constraints[name].map(lambda said: {"type": name, **said})


scalars = st.one_of(
    *map(of_type, constraints),
    st.lists(st.sampled_from(sorted(constraints)), min_size=1, max_size=3, unique=True).map(
        lambda names: {"type": names}
    ),
    st.lists(st.sampled_from(["a", "bc", ""]), min_size=1, unique=True).map(lambda values: {"enum": values}),
    st.lists(st.sampled_from(sorted(constraints)), min_size=1, max_size=2, unique=True)
    .flatmap(lambda names: st.tuples(*map(of_type, names)))
    .map(lambda either: {"anyOf": list(either)}),
    st.just(True),
)


def objects(children):
    return st.builds(
        lambda properties, required, others: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in required],
            **others,
        },
        st.dictionaries(st.sampled_from("xyz"), children, min_size=1),
        st.sets(st.sampled_from("xyz")),
        st.one_of(st.just({}), st.builds(lambda each: {"additionalProperties": each}, st.just(False) | children)),
    )


schemas = st.recursive(
    scalars,
    lambda children: st.one_of(
        objects(children),
        st.builds(
            lambda items, least: {"type": "array", "items": items, "minItems": least}, children, st.integers(0, 2)
        ),
    ),
    max_leaves=5,
)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        numbers,
        st.sampled_from(["", "a", "bc", "déj", "\U0001f600" * 4, "long enough"]),
        st.sampled_from([10**20, 1e300]),
    ),
    lambda children: st.one_of(
        st.lists(children, max_size=3), st.dictionaries(st.sampled_from("xyzw"), children, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=examples(600), deadline=None)
@given(
    st.dictionaries(st.sampled_from("xyz"), schemas), st.dictionaries(st.sampled_from("xyzw"), values), st.booleans()
)
def test_what_the_plan_takes_the_schema_takes(properties, members, closed):
    schema = a_schema(properties, **({"additionalProperties": False} if closed else {}))
    document = {"id": "a", **members}
    if is_plain(schema) and taken(schema, document) == [True]:
        assert jsonschema_rs.is_valid(schema, document)


@settings(max_examples=examples(600), deadline=None)
@given(
    st.dictionaries(st.sampled_from("xyz"), schemas), st.dictionaries(st.sampled_from("xyzw"), values), st.booleans()
)
def test_a_document_that_matches_is_taken_unless_its_numbers_are_rare(properties, members, closed):
    schema = a_schema(properties, **({"additionalProperties": False} if closed else {}))
    document = {"id": "a", **members}
    text = json.dumps(document)
    are_rare = any(each in text for each in (".0", "e+", "0" * 20))
    if is_plain(schema) and jsonschema_rs.is_valid(schema, document) and not are_rare:
        uses_escapes = "pattern" in json.dumps(schema) and "\\u" in text
        assert taken(schema, document) == [True] or uses_escapes
