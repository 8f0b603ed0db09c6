import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.request import urlopen

import pytest

from headwater.domain.errors import LONGEST_DETAIL, SchemaInvalid
from headwater.domain.schema import compile_schema, cut, first_flaw, flaws_of, json_pointer

DRAFTS = {
    "4": "http://json-schema.org/draft-04/schema#",
    "6": "http://json-schema.org/draft-06/schema#",
    "7": "http://json-schema.org/draft-07/schema#",
    "2019-09": "https://json-schema.org/draft/2019-09/schema",
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
}
#: For each draft but the first, a keyword that it brought, and a document that fails only by it.
BROUGHT = {
    "6": ({"properties": {"a": {"const": 1}}}, {"a": 2}),
    "7": ({"if": {"required": ["a"]}, "then": {"required": ["b"]}}, {"a": 1}),
    "2019-09": ({"dependentRequired": {"a": ["b"]}}, {"a": 1}),
    "2020-12": ({"properties": {"a": {"prefixItems": [{"type": "string"}]}}}, {"a": [1]}),
}


def pointer_of(schema, **options):
    """Where a schema does not compile."""
    with pytest.raises(SchemaInvalid) as caught:
        compile_schema(schema, **options)
    [flaw] = caught.value.flaws
    return flaw.pointer


def told(schema, document):
    """What is wrong with a document, as (pointer, keyword, schema pointer)."""
    return [(flaw.pointer, flaw.keyword, flaw.schema_pointer) for flaw in flaws_of(compile_schema(schema), document)]


def deep(levels, around="not", value=None):
    schema = value if value is not None else {}
    for _ in range(levels):
        schema = {around: schema}
    return schema


@contextmanager
def a_server(answer):
    """A web server on this machine: its address, and the paths that it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("draft", DRAFTS)
def test_a_schema_of_each_draft_compiles(draft):
    validator = compile_schema({"$schema": DRAFTS[draft], "required": ["a"]})
    assert (validator.is_valid({"a": 1}), validator.is_valid({})) == (True, False)


@pytest.mark.parametrize("draft", BROUGHT)
def test_a_schema_is_read_by_the_draft_that_it_names(draft):
    schema, document = BROUGHT[draft]
    drafts = list(DRAFTS)
    known = [name for name in drafts if not compile_schema({"$schema": DRAFTS[name]} | schema).is_valid(document)]
    assert known == drafts[drafts.index(draft) :]


def test_draft_4_has_an_exclusive_minimum_that_is_a_boolean():
    schema = {"$schema": DRAFTS["4"], "properties": {"a": {"minimum": 3, "exclusiveMinimum": True}}}
    assert told(schema, {"a": 3}) == [("/a", "exclusiveMinimum", "/properties/a/exclusiveMinimum")]


@pytest.mark.parametrize("draft", ["http://json-schema.org/draft-03/schema#", "https://example.com/a.b/c.json"])
def test_a_draft_that_is_not_known_is_told_with_those_that_are(draft):
    with pytest.raises(SchemaInvalid, match=f"'{re.escape(draft)}'; drafts 4, 6, 7, 2019-09 and 2020-12 are known"):
        compile_schema({"$schema": draft})


def test_without_a_draft_a_schema_is_of_the_newest():
    schema, document = BROUGHT["2020-12"]
    assert not compile_schema(schema).is_valid(document)


def test_a_schema_may_be_a_boolean():
    assert [compile_schema(schema).is_valid({}) for schema in (True, False)] == [True, False]


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        ({"type": "bogus"}, "/schema/type"),
        ({"required": "a"}, "/schema/required"),
        ({"properties": {"price": {"minimum": "1"}}}, "/schema/properties/price/minimum"),
        ({"properties": {"a/b~c": {"type": 3}}}, "/schema/properties/a~1b~0c/type"),
        ({"anyOf": [{}, {"pattern": "("}]}, "/schema/anyOf/1/pattern"),
        ({"$schema": 1}, "/schema/$schema"),
        ({"$schema": "http://json-schema.org/draft-03/schema#"}, "/schema"),
        ({"$ref": "#/$defs/nowhere"}, "/schema"),
        ({"$id": "::::"}, "/schema"),
        ({"pattern": "a{1,1000000}"}, "/schema/pattern"),
    ],
)
def test_a_schema_that_does_not_compile_says_where(schema, pointer):
    assert pointer_of(schema) == pointer


def test_the_pointer_is_below_where_the_schema_stands():
    assert pointer_of({"type": "bogus"}, at="/externals/0/schema") == "/externals/0/schema/type"


def test_a_fault_in_a_schema_is_not_quoted_at_length():
    with pytest.raises(SchemaInvalid) as caught:
        compile_schema({"type": "x" * 100_000})
    assert len(caught.value.flaws[0].detail) == LONGEST_DETAIL


@pytest.mark.parametrize(
    "schema",
    [
        lambda url: {"$ref": url},
        lambda url: {"$ref": f"{url}/schema.json#/$defs/a"},
        lambda url: {"$schema": url},
        lambda url: {"$id": url, "$ref": "/other.json"},
        lambda url: {"$dynamicRef": f"{url}/schema.json#a"},
        lambda url: {"$schema": DRAFTS["4"], "id": url, "properties": {"a": {"$ref": "other.json"}}},
        lambda url: {"properties": {"a": {"not": {"$ref": url}}}},
    ],
)
def test_nothing_is_fetched_from_the_network(schema):
    with a_server(b'{"type": "object"}') as (url, asked):
        with urlopen(f"{url}/check") as answer:
            answer.read()
        with pytest.raises(SchemaInvalid, match=r"nothing is fetched from anywhere|2020-12 are known"):
            compile_schema(schema(url))
        assert asked == ["/check"]


def test_nothing_is_read_from_files(tmp_path):
    file = tmp_path / "schema.json"
    file.write_text('{"type": "object"}')
    with pytest.raises(SchemaInvalid, match="nothing is fetched from anywhere"):
        compile_schema({"$ref": file.as_uri()})


def test_a_reference_within_the_schema_is_followed():
    schema = {"$ref": "#/$defs/priced", "$defs": {"priced": {"required": ["price"]}}}
    assert told(schema, {}) == [("", "required", "/$defs/priced/required")]


def test_a_deep_schema_compiles():
    assert compile_schema(deep(200)).is_valid({})


@pytest.mark.parametrize("around", ["not", "additionalProperties", "items"])
@pytest.mark.parametrize("levels", [1_000, 100_000])
def test_a_schema_that_is_too_deep_is_refused(around, levels):
    assert pointer_of(deep(levels, around)) == "/schema"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"$dynamicRef": "#self", "$dynamicAnchor": "self"},
        {"$schema": DRAFTS["2019-09"], "$recursiveRef": "#"},
    ],
)
def test_a_schema_that_leads_to_itself_without_end_still_answers(schema):
    assert compile_schema(schema).is_valid({"a": 1})


@pytest.mark.parametrize("pattern", ["(a+)+$", "(?=a)(a+)+$", r"(a|aa)+\1$", "^(?:(?=a)a+)+$"])
def test_a_hostile_pattern_comes_back(pattern):
    schema = {"properties": {"a": {"pattern": pattern}}}
    assert told(schema, {"a": "a" * 5000 + "!"}) == [("/a", "pattern", "/properties/a/pattern")]


@pytest.mark.parametrize(
    ("schema", "document", "flaw"),
    [
        ({"properties": {"a": {"type": "number"}}}, {"a": "x"}, ("/a", "type", "/properties/a/type")),
        ({"properties": {"~/": {"type": "null"}}}, {"~/": 1}, ("/~0~1", "type", "/properties/~0~1/type")),
        ({"properties": {"a": {"items": {"minimum": 1}}}}, {"a": [1, 0]}, ("/a/1", "minimum", None)),
        ({"required": ["a"]}, {}, ("", "required", "/required")),
        ({"additionalProperties": False}, {"a": 1}, ("", "additionalProperties", "/additionalProperties")),
        ({"anyOf": [{"type": "null"}, {"type": "array"}]}, {}, ("", "anyOf", "/anyOf")),
        ({"allOf": [{}, {"required": ["a"]}]}, {}, ("", "required", "/allOf/1/required")),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, ("", "dependentRequired", "/dependentRequired")),
        ({"properties": {"type": False}}, {"type": 1}, ("/type", "properties", "/properties/type")),
        ({"patternProperties": {"^x": False}}, {"x": 1}, ("/x", "patternProperties", "/patternProperties/^x")),
        ({"properties": {"properties": {"type": "null"}}}, {"properties": 1}, ("/properties", "type", None)),
        ({"properties": {"properties": False}}, {"properties": 1}, ("/properties", "properties", None)),
        ({"properties": {"properties": {"not": {}}}}, {"properties": 1}, ("/properties", "not", None)),
        (False, {}, ("", None, "")),
    ],
)
def test_a_flaw_says_where_in_the_document_by_which_keyword_and_where_that_stands(schema, document, flaw):
    [(pointer, keyword, schema_pointer)] = told(schema, document)
    assert (pointer, keyword) == flaw[:2]
    assert flaw[2] in {None, schema_pointer}


def test_everything_that_is_wrong_is_told():
    schema = {"required": ["a", "b"], "properties": {"c": {"type": "string"}}}
    assert [keyword for _, keyword, _ in told(schema, {"c": 1})] == ["required", "required", "type"]


def test_a_sound_document_has_no_flaws():
    assert told({"required": ["a"]}, {"a": 1}) == []


def test_a_flaw_does_not_quote_at_length():
    [flaw] = flaws_of(compile_schema({"properties": {"a": {"type": "null"}}}), {"a": "x" * 100_000})
    assert len(flaw.detail) == LONGEST_DETAIL


def test_the_first_flaw_is_the_first_of_all():
    validator, document = compile_schema({"required": ["a", "b"]}), {}
    assert first_flaw(validator, document) == next(flaws_of(validator, document))


def test_a_sound_document_has_no_first_flaw():
    assert first_flaw(compile_schema({"required": ["a"]}), {"a": 1}) is None


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ([], ""),
        (["a", 0, "b"], "/a/0/b"),
        (["~", "/", "~1", "~0"], "/~0/~1/~01/~00"),
        (["", "ü"], "//ü"),
    ],
)
def test_a_path_is_written_as_a_json_pointer(path, pointer):
    assert json_pointer(path) == pointer


@pytest.mark.parametrize("size", [0, LONGEST_DETAIL])
def test_a_short_text_is_not_cut(size):
    assert cut("x" * size) == "x" * size


def test_a_long_text_is_cut_and_shows_it():
    assert cut("x" * (LONGEST_DETAIL + 1)) == "x" * (LONGEST_DETAIL - 1) + "…"
