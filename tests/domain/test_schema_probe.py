import pytest

from headwater.domain.schema_probe import probe


@pytest.mark.parametrize(
    ("schema", "document", "pointer", "keyword", "schema_pointer"),
    [
        ({"properties": {"a": {"type": "string"}}}, {"a": 1}, "/a", "type", "/properties/a/type"),
        ({"items": {"minimum": 3}}, [3, 4, 2], "/2", "minimum", "/items/minimum"),
        ({"prefixItems": [{}, {"enum": ["x"]}]}, [1, 2], "/1", "enum", "/prefixItems/1/enum"),
        (
            {"additionalProperties": {"anyOf": [{"type": "null"}]}},
            {"a/b": 1},
            "/a~1b",
            "anyOf",
            "/additionalProperties/anyOf",
        ),
        (
            {"properties": {"n": {"$ref": "#/$defs/a~1b"}}, "$defs": {"a/b": {"required": ["x"]}}},
            {"n": {}},
            "/n",
            "required",
            "/$defs/a~1b/required",
        ),
        ({"allOf": [{}, {"properties": {"a": {"not": {}}}}]}, {"a": 1}, "/a", "not", "/allOf/1/properties/a/not"),
        ({"oneOf": [{}, {}]}, {}, "", "oneOf", "/oneOf"),
        ({"properties": {"a": {"properties": {"b": False}}}}, {"a": {"b": 1}}, "/a", None, "/properties/a"),
    ],
)
def test_it_goes_down_to_the_innermost_part_that_is_not_valid(schema, document, pointer, keyword, schema_pointer):
    flaw = probe(schema, document)
    assert (flaw.pointer, flaw.keyword, flaw.schema_pointer) == (pointer, keyword, schema_pointer)


@pytest.mark.parametrize("schema", [False, {"minProperties": 3}, {"propertyNames": {"maxLength": 1}}])
def test_what_it_cannot_tell_it_does_not_tell(schema):
    assert probe(schema, {"ab": 1}) is None
