import json

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.ingest.typed import TypedDecoder

ID = {"type": "string"}


def a_schema(properties=None, **more):
    return {"type": "object", "required": ["id"], "properties": {"id": ID} | (properties or {})} | more


def taken(schema, *documents):
    """Which documents the type takes; texts stand as they are."""
    lines = [text if isinstance(text, bytes) else json.dumps(text).encode() for text in documents]
    found, missed = TypedDecoder(schema, field="id").ids(lines)
    assert [place for place, doc_id in enumerate(found) if doc_id is None] == missed
    return [doc_id is not None for doc_id in found]


def is_plain(schema, field="id"):
    try:
        TypedDecoder(schema, field=field)
    except ValueError:
        return False
    return True


def test_ids_come_in_the_order_of_the_lines():
    assert TypedDecoder(a_schema(), field="id").ids([b'{"id": "b"}', b'{"id": "a"}']) == (["b", "a"], [])


def test_what_is_not_taken_is_named_by_its_place():
    lines = [b'{"id": "a"}', b'{"id": 1}', b"nonsense", b'{"id": "\xff"}', b'{"id": "b"}']
    assert TypedDecoder(a_schema(), field="id").ids(lines) == (["a", None, None, None, "b"], [1, 2, 3])


def test_a_pattern_is_that_of_json_schema_and_not_pythons():
    schema = a_schema({"id": {"type": "string", "pattern": "^a$"}, "at": {"type": "string", "pattern": "^\\d+$"}})
    # To Python $ is also before a line end, and \d any digit that there is.
    documents = [{"id": "a"}, {"id": "a\n"}, {"id": "a", "at": "12"}, {"id": "a", "at": "\u0661"}]
    assert taken(schema, *documents) == [jsonschema_rs.is_valid(schema, document) for document in documents]
    assert taken(schema, {"id": "a"}, {"id": "a\n"}, {"id": "a", "at": "12"}) == [True, False, True]


def test_properties_that_the_schema_does_not_name_are_left_to_the_general_way():
    assert taken(a_schema(), {"id": "a"}, {"id": "a", "other": 1}) == [True, False]


def test_names_of_properties_may_be_anything():
    assert taken(
        a_schema({"class": {"type": "integer"}, "": {}, "a b\u2028": {}}),
        {"id": "a", "class": 1, "": 2, "a b\u2028": 3},
    ) == [True]


def test_of_a_key_that_comes_twice_the_last_value_counts():
    assert TypedDecoder(a_schema(), field="id").ids([b'{"id": "a", "id": "b"}']) == (["b"], [])


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
    ],
)
def test_a_plain_schema_is_said_as_a_type(properties):
    assert is_plain(a_schema(properties))


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "object", "properties": {"id": ID}},  # the id may be absent
        a_schema({"id": {"type": ["string", "integer"]}}),
        a_schema({"id": True}),
        a_schema({"x": False}),
        a_schema({"x": {"type": "integer", "multipleOf": 2}}),
        a_schema({"x": {"type": "array", "uniqueItems": True}}),
        a_schema({"x": {"type": "object", "additionalProperties": {"type": "integer"}}}),
        a_schema({"x": {"$ref": "#/properties/id"}}),
        a_schema({"x": {"enum": [1, 2]}}),
        a_schema({"x": {"minLength": 1}}),
        a_schema({"x": {"type": "integer", "minimum": 1 << 60}}),
        a_schema({"x": {"type": "integer", "minimum": 1, "exclusiveMinimum": True}}),
        a_schema({"x": {"type": "object", "properties": {"y": {"type": "string", "pattern": "a"}}}}),
        a_schema({"x": {"type": "string", "format": "date"}}, **{"$schema": "http://json-schema.org/draft-07/schema#"}),
        a_schema(required=["id", "nowhere"]),
        a_schema(patternProperties={"^x": True}),
        a_schema(allOf=[True]),
        a_schema(minProperties=2),
        a_schema(**{"$defs": {}}),
    ],
)
def test_a_schema_that_says_more_is_not(schema):
    assert not is_plain(schema)


def test_where_most_documents_are_missed_the_type_rests_for_some_blocks():
    decoder = TypedDecoder(a_schema(), field="id")
    assert decoder.is_worth_trying
    decoder.ids([b'{"id": "a"}', b'{"id": "a", "x": 1}'])
    tries = [decoder.is_worth_trying for _ in range(40)]
    assert not any(tries[:31])
    assert all(tries[31:])


numbers = st.one_of(st.integers(-3, 12), st.sampled_from([0.5, 1.0, 2.5, 1e2, -1.0]))
constraints = {
    "string": st.fixed_dictionaries(
        {}, optional={"minLength": st.integers(0, 3), "maxLength": st.integers(0, 4), "format": st.just("date")}
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
    st.just(True),
)


def objects(children):
    return st.builds(
        lambda properties, required, closed: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in required],
            **({"additionalProperties": False} if closed else {}),
        },
        st.dictionaries(st.sampled_from("xyz"), children, min_size=1),
        st.sets(st.sampled_from("xyz")),
        st.booleans(),
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


@settings(max_examples=600, deadline=None)
@given(
    st.dictionaries(st.sampled_from("xyz"), schemas), st.dictionaries(st.sampled_from("xyzw"), values), st.booleans()
)
def test_what_the_type_takes_the_schema_takes(properties, members, closed):
    schema = a_schema(properties, **({"additionalProperties": False} if closed else {}))
    document = {"id": "a", **members}
    if taken(schema, document) == [True]:
        assert jsonschema_rs.is_valid(schema, document)


@settings(max_examples=300, deadline=None)
@given(
    scalars.filter(lambda said: said is not True), numbers | st.sampled_from(["", "a", "bc", "long enough", None, True])
)
def test_a_document_that_matches_is_taken_unless_a_fraction_is_to_be_an_integer(said, value):
    schema, document = a_schema({"x": said}), {"id": "a", "x": value}
    if jsonschema_rs.is_valid(schema, document):
        assert taken(schema, document) == [True] or isinstance(value, float)
