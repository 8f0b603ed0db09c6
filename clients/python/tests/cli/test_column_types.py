import pytest

from headwater_client.cli.push.cells import conversion_to
from headwater_client.cli.push.column_types import columns_of

DEFS = {
    "money": {"type": "number", "minimum": 0},
    "tag": {"type": "string"},
    "loop": {"$ref": "#/$defs/loop"},
    "a/b~c": {"type": "boolean"},
    "either": {"anyOf": [{"$ref": "#/$defs/money"}, {"type": "null"}]},
}


def _noun(schema, name="a"):
    return conversion_to(columns_of(schema).of(name).types)[0]


@pytest.mark.parametrize(
    ("wanted", "noun"),
    [
        (True, "text"),
        ({}, "text"),
        ({"type": "string"}, "text"),
        ({"type": "number"}, "number"),
        ({"type": "integer"}, "integer"),
        ({"type": "boolean"}, "boolean"),
        ({"type": "array", "items": {"type": "string"}}, "array"),
        ({"type": "object"}, "object"),
        ({"type": ["number", "null"]}, "number"),
        ({"type": ["null", "boolean"]}, "boolean"),
        ({"type": ["number", "string"]}, "text"),
        ({"type": ["integer", "boolean"]}, "integer or boolean"),
        ({"type": ["array", "object"]}, "array or object"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "number"),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, "number"),
        ({"anyOf": [{"type": "number"}, {"type": "string"}]}, "text"),
        ({"anyOf": [{"type": "number"}, {}]}, "text"),
        ({"oneOf": [{"type": "array"}, {"type": "null"}]}, "array"),
        ({"$ref": "#/$defs/money"}, "number"),
        ({"$ref": "#/$defs/either"}, "number"),
        ({"$ref": "#/$defs/a~1b~0c"}, "boolean"),
        ({"$ref": "#/$defs/loop"}, "text"),
        ({"$ref": "#/$defs/missing"}, "text"),
        ({"$ref": "https://example.org/schema"}, "text"),
        ({"allOf": [{"$ref": "#/$defs/money"}, {"maximum": 5}]}, "number"),
        ({"allOf": [{"type": ["number", "string"]}, {"type": "number"}]}, "number"),
        ({"allOf": [{"type": "number"}, {"type": "integer"}]}, "integer"),
        ({"enum": [1, 2, 3]}, "integer"),
        ({"enum": [1, 2.5, None]}, "number"),
        ({"enum": ["a", 1]}, "text"),
        ({"const": True}, "boolean"),
        ({"anyOf": [{"const": 1}, {"const": 2}]}, "integer"),
        ({"type": "number", "enum": [1, 2]}, "integer"),
        ({"type": "null"}, "text"),
        (False, "text"),
        ({"type": 5, "anyOf": {}, "allOf": 3, "enum": None}, "text"),
    ],
)
def test_a_column_is_what_the_schema_allows(wanted, noun):
    assert _noun({"$defs": DEFS, "properties": {"a": wanted}}) == noun


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/book"},
        {"allOf": [{"$ref": "#/$defs/book"}, {"required": ["b"]}]},
        {"anyOf": [{"$ref": "#/$defs/book"}, {"properties": {"b": {"type": "integer"}}}]},
        {"oneOf": [{"properties": {"a": {"type": "integer"}}}, {"$ref": "#/$defs/book"}]},
    ],
)
def test_fields_may_stand_in_any_part_of_the_schema(schema):
    defs = {"book": {"type": "object", "properties": {"a": {"type": "number"}}}}
    assert _noun({"$defs": defs, **schema}) == "number"


def test_columns_without_a_name_in_the_schema_are_what_it_says_of_all_others():
    schema = {"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "number"}}
    assert (_noun(schema), _noun(schema, "b")) == ("text", "number")
    assert _noun({"additionalProperties": False}, "b") == "text"


@pytest.mark.parametrize("schema", [None, True, False, [], {"properties": True}, {"properties": []}, {"$ref": "#"}])
def test_a_schema_that_says_nothing_leaves_texts(schema):
    assert _noun(schema) == "text"


def test_a_field_is_null_if_empty_where_it_is_required_and_may_be_null():
    schema = {
        "required": ["a", "b"],
        "properties": {
            "a": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "b": {"type": "number"},
            "c": {"type": ["null", "number"]},
        },
    }
    assert [columns_of(schema).of(name).is_null_if_empty for name in "abcd"] == [True, False, False, False]


def test_references_that_double_or_lead_to_each_other_are_each_followed_once():
    def part(n):
        return {"anyOf": [{"$ref": f"#/$defs/a{n - 1}"}] * 10, "properties": {"b": {"$ref": f"#/$defs/a{n - 1}"}}}

    defs = {f"a{n}": part(n) for n in range(1, 40)} | {"a0": {"type": "number", "allOf": [{"$ref": "#/$defs/a39"}]}}
    assert _noun({"$defs": defs, "properties": {"a": {"$ref": "#/$defs/a39"}}}) == "number"
    assert _noun({"$defs": defs, "$ref": "#/$defs/a39"}, "b") == "number"
