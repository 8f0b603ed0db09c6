import math

import pytest

from headwater.domain.schema_cost import schema_cost, with_linear_patterns

TREE = {"type": "object", "properties": {"kids": {"items": {"$ref": "#"}}, "next": {"anyOf": [{"$ref": "#"}, {}]}}}
PASSWORD = r"(?=.*\d)(?=.*[a-z]).{8,}"


def doubling(keyword, levels):
    shelves = {"a0": {"type": "string"}}
    for level in range(1, levels + 1):
        shelves[f"a{level}"] = {keyword: [{"$ref": f"#/$defs/a{level - 1}"}] * 2}
    return {"$ref": f"#/$defs/a{levels}", "$defs": shelves}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        TREE,
        {"properties": {"a": {"$ref": "#/$defs/a~1b%20c"}}, "$defs": {"a/b c": {"pattern": "^a+$"}}},
        {"if": {"required": ["a"]}, "then": {"not": {"const": 1}}, "else": {"oneOf": [{}, False]}},
        {"patternProperties": {"^x": {"items": [{}, True]}}, "dependencies": {"a": ["b"], "c": {}}},
        {"properties": {"$ref": {"pattern": "a"}, "$id": {}, "pattern": True}},
        {"pattern": PASSWORD},
    ],
)
def test_an_everyday_schema_has_a_bound(schema):
    cost = schema_cost(schema)
    assert math.isfinite(cost.per_value)
    assert cost.is_compiled_quickly


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"properties": {"n": {"$ref": "#"}}}, {"properties": {"n": {"$ref": "#"}}}]},
        {"properties": {"n": {"$ref": "#"}}, "dependentSchemas": {"n": {"properties": {"n": {"$ref": "#"}}}}},
        {"properties": {"n": {"$ref": "#"}}, "patternProperties": {"n": {"$ref": "#"}}},
        {"items": {"$ref": "#"}, "contains": {"$ref": "#"}},
        {"unevaluatedProperties": False},
        {"unevaluatedItems": {}},
        {"$dynamicRef": "#n", "$dynamicAnchor": "n"},
        {"$ref": "other.json"},
        {"$ref": "#anchor"},
        {"$ref": "#/nowhere"},
        {"properties": {"a": {"$id": "x", "$ref": "#"}}},
        {"pattern": r"(a)\1"},
        {"patternProperties": {PASSWORD: {}}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "format": "regex"},
        {"properties": 5},
        5,
        *(doubling(keyword, 34) for keyword in ("anyOf", "oneOf", "allOf")),
    ],
)
def test_a_schema_whose_cost_cannot_be_told_or_is_exponential_has_no_bound(schema):
    assert math.isinf(schema_cost(schema).per_value)


def test_the_bound_of_a_doubling_schema_doubles():
    costs = [schema_cost(doubling("anyOf", levels)).per_value for levels in (4, 5, 6)]
    assert costs[1] >= 2 * costs[0]
    assert costs[2] >= 2 * costs[1]


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"pattern": f"^a{{{number}}}$"} for number in range(900, 1000)]},
        {"properties": {f"p{number}": {} for number in range(6000)}},
        {"enum": [{"a": number} for number in range(20_000)]},
    ],
)
def test_a_schema_that_is_large_is_not_compiled_quickly(schema):
    assert not schema_cost(schema).is_compiled_quickly


def test_patterns_are_replaced_where_they_are_patterns_and_nowhere_else():
    data = {"pattern": PASSWORD}
    schema = {"properties": {"enum": data, "pattern": data}, "const": data, "items": [data], "$defs": {"const": data}}
    linear = with_linear_patterns(schema)
    assert linear["const"] == data
    changed = [
        linear["properties"]["enum"],
        linear["properties"]["pattern"],
        linear["items"][0],
        linear["$defs"]["const"],
    ]
    assert all(each["pattern"].endswith(PASSWORD) and each != data for each in changed)
    assert schema_cost(schema).is_rewritten
