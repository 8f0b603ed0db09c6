"""Compiles a JSON Schema to the plan that the scanner executes.

A plan accepts exactly what its schema accepts. A schema that a plan cannot express is not plain; its documents are
validated on the general path, in Python.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from headwater.ingest.scanner.pattern import runs_of
from headwater.ingest.scanner.plan import (
    ARRAY,
    BOOLEAN,
    FRACTION,
    INTEGER,
    MOST_COUNT,
    MOST_PROPERTIES,
    NOTHING,
    OBJECT,
    STRING,
    Node,
    Plan,
    Property,
    Run,
    Text,
)

#: Annotations: they do not constrain documents.
_ANNOTATIONS = {"title", "description", "$comment", "examples", "default", "deprecated", "readOnly", "writeOnly"}
#: Keywords that hold definitions or identify the schema.
_SHELVES = {"$schema", "$id", "$defs", "definitions"}
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_KEYWORDS = {
    *("type", "enum", "const", "minLength", "maxLength", "pattern", "format", *_BOUNDS),
    *("items", "minItems", "maxItems", "properties", "required", "additionalProperties"),
}
#: In these dialects, ``format`` is an annotation; in older drafts, it is an assertion.
_DIALECTS = (None, "https://json-schema.org/draft/2019-09/schema", "https://json-schema.org/draft/2020-12/schema")

_NUMBER = INTEGER | FRACTION
_ALL = STRING | _NUMBER | BOOLEAN | NOTHING | OBJECT | ARRAY
_TYPES = {
    "string": STRING,
    "integer": INTEGER,
    "number": _NUMBER,
    "boolean": BOOLEAN,
    "null": NOTHING,
    "object": OBJECT,
    "array": ARRAY,
}
#: The fields of a node that apply to each type.
_PARTS: Mapping[int, Sequence[str]] = {
    STRING: ("shortest", "longest", "choice", "choices", "run", "runs", "is_whole"),
    _NUMBER: ("lowest", "highest", "least", "most"),
    OBJECT: ("property", "properties", "required", "others"),
    ARRAY: ("items", "fewest", "most_items"),
}

#: Larger than any integer that the scanner reads.
_GIANT = 1 << 62
#: All integers up to here are exact doubles.
_MOST_BOUND = 1 << 53
#: They are compared one by one.
_MOST_CHOICES = 256

_REFERENCE = re.compile(r"#/(?P<shelf>\$defs|definitions)/(?P<name>[^~%/]+)")
#: Characters that must be escaped in a JSON string.
_ESCAPED = re.compile(r'["\\\x00-\x1f]')


class NotPlain(ValueError):
    """The schema cannot be expressed as a plan."""


def plan_of(schema: Any, *, field: str) -> Plan:
    """Return the plan of a JSON Schema, or of no schema (None), for documents whose id is in ``field``.

    Raises:
        NotPlain: the schema cannot be expressed as a plan.
    """
    if schema is False:
        raise NotPlain("nothing matches it")
    try:
        return _Planner({} if schema is None or schema is True else schema).plan(field)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise NotPlain(f"the schema is not plain: {error}") from error


class _Planner:
    """Builds one plan."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._formats_are_notes = root.get("$schema") in _DIALECTS
        #: None is a placeholder for a node that is being built.
        self._nodes: list[Node | None] = []
        self._properties: list[Property] = []
        self._choices: list[Text] = []
        self._runs: list[Run] = []
        self._text = bytearray()
        #: The index of the node that accepts any value, once there is one.
        self._anything: int | None = None
        #: Maps a reference to the index of its target.
        self._referred: dict[str, int] = {}

    def plan(self, field: str) -> Plan:
        keywords = {keyword: value for keyword, value in self._root.items() if keyword not in _SHELVES}
        if keywords.keys() == {"$ref"}:
            keywords = self._find(keywords["$ref"])
        # The id may be a property that the schema does not declare.
        properties: dict[str, Any] = {
            field: keywords.get("additionalProperties", True),
            **keywords.get("properties", {}),
        }
        self._add({**keywords, "properties": properties})
        nodes = cast("list[Node]", self._nodes)
        nodes[0].types &= OBJECT
        return Plan(
            nodes=(Node * len(nodes))(*nodes),
            properties=(Property * len(self._properties))(*self._properties),
            choices=(Text * len(self._choices))(*self._choices),
            runs=(Run * len(self._runs))(*self._runs),
            text=bytes(self._text),
            id=list(_in_order(properties, keywords.get("required", []))).index(field),
        )

    def _add(self, schema: Any) -> int:
        """Return the index of the node for a subschema."""
        if schema is True or schema == {}:
            return self._place_of_anything()
        if isinstance(schema, dict) and "$ref" in schema:
            return self._refer(cast("dict[str, Any]", schema))
        place = self._reserve()
        self._nodes[place] = self._node(schema)
        return place

    def _reserve(self) -> int:
        self._nodes.append(None)
        return len(self._nodes) - 1

    def _place_of_anything(self) -> int:
        if self._anything is None:
            self._anything = self._reserve()
            self._nodes[self._anything] = self._free()
        return self._anything

    def _free(self) -> Node:
        """Return a node that accepts any value."""
        anything = self._place_of_anything()
        return Node(
            types=_ALL,
            lowest=-math.inf,
            highest=math.inf,
            least=-_GIANT,
            most=_GIANT,
            longest=MOST_COUNT,
            most_items=MOST_COUNT,
            others=anything,
            items=anything,
        )

    def _refer(self, keywords: dict[str, Any]) -> int:
        pointer: str = keywords["$ref"]
        if keywords.keys() - _ANNOTATIONS != {"$ref"}:
            raise NotPlain("something beside a reference")
        if pointer not in self._referred:
            # Registered before it is built, since it may be recursive.
            place = self._referred[pointer] = self._reserve()
            self._nodes[place] = self._node(self._find(pointer))
        return self._referred[pointer]

    def _find(self, pointer: str) -> Any:
        found = _REFERENCE.fullmatch(pointer)
        shelf: dict[str, Any] = self._root.get(found["shelf"], {}) if found else {}
        if found is None or found["name"] not in shelf:
            raise NotPlain(f"the reference {pointer!r}")
        return shelf[found["name"]]

    def _node(self, schema: Any) -> Node:
        """Return the node for a subschema."""
        if schema is True:
            return self._free()
        if not isinstance(schema, dict):
            raise NotPlain("nothing matches a part of it")
        keywords = {name: value for name, value in cast("dict[str, Any]", schema).items() if name not in _ANNOTATIONS}
        if "$ref" in keywords:
            node = self._nodes[self._refer(keywords)]
            if node is None:
                raise NotPlain("it is a part of itself")
            return node
        for keyword in ("anyOf", "oneOf"):
            if keywords.keys() == {keyword}:
                return self._either(keywords[keyword])
        if unknown := keywords.keys() - _KEYWORDS:
            raise NotPlain(f"the keyword {min(unknown)!r}")
        node = self._free()
        node.types = _types(keywords.get("type"))
        self._constrain_string(node, keywords)
        _constrain_number(node, keywords)
        node.fewest, node.most_items = _count(keywords, "minItems", 0), _count(keywords, "maxItems", MOST_COUNT)
        node.items = self._add(keywords.get("items", True))
        self._constrain_object(node, keywords)
        return node

    def _either(self, schemas: Sequence[Any]) -> Node:
        """Return the node for a union of schemas whose types do not overlap."""
        whole = self._free()
        whole.types = 0
        for schema in schemas:
            node = self._node(schema)
            numbers = _NUMBER if node.types & _NUMBER else 0
            if whole.types & (node.types | numbers):
                raise NotPlain("a choice of two schemas for one type")
            whole.types |= node.types
            for types, parts in _PARTS.items():
                if node.types & types:
                    for part in parts:
                        setattr(whole, part, getattr(node, part))
        return whole

    def _constrain_string(self, node: Node, keywords: Mapping[str, Any]) -> None:
        if "format" in keywords and not self._formats_are_notes:
            raise NotPlain("the keyword 'format'")
        node.shortest, node.longest = _count(keywords, "minLength", 0), _count(keywords, "maxLength", MOST_COUNT)
        if "enum" in keywords or "const" in keywords:
            self._constrain_choices(node, keywords)
        if "pattern" in keywords:
            runs, node.is_whole = runs_of(keywords["pattern"])
            node.run, node.runs = len(self._runs), len(runs)
            self._runs += runs

    def _constrain_choices(self, node: Node, keywords: Mapping[str, Any]) -> None:
        values: list[Any] = [keywords["const"]] if "const" in keywords else keywords["enum"]
        texts = [value for value in values if isinstance(value, str)]
        if (
            len(texts) + values.count(None) < len(values)
            or len(texts) > _MOST_CHOICES
            or {"const", "enum"} <= keywords.keys()
        ):
            raise NotPlain("a choice of other values than strings, or of too many")
        node.types &= (STRING if texts else 0) | (NOTHING if None in values else 0)
        node.choice, node.choices = len(self._choices), len(texts)
        self._choices += map(self._quoted, texts)

    def _constrain_object(self, node: Node, keywords: Mapping[str, Any]) -> None:
        others = keywords.get("additionalProperties", True)
        required: list[str] = keywords.get("required", [])
        properties = _in_order(keywords.get("properties", {}), required, undeclared=others)
        if len(properties) > MOST_PROPERTIES or any(map(_ESCAPED.search, properties)):
            raise NotPlain("properties whose names are escaped, or too many")
        node.others = -1 if others is False else self._add(others)
        # Subschemas are added first, so that the properties of this object are contiguous.
        named = [Property(self._quoted(name), self._add(each), name in required) for name, each in properties.items()]
        node.property, node.properties, node.required = len(self._properties), len(named), len(set(required))
        self._properties += named

    def _quoted(self, text: str) -> Text:
        start = len(self._text)
        self._text += b'"%b"' % text.encode()
        return Text(start, len(self._text) - start)


def _in_order(properties: Mapping[str, Any], required: Sequence[str], *, undeclared: Any = True) -> dict[str, Any]:
    """Return the properties of an object in the order of the plan; required ones that are not declared, too."""
    return dict.fromkeys(required, undeclared) | dict(properties)


def _types(given: str | Sequence[str] | None) -> int:
    if given is None:
        return _ALL
    found = 0
    for name in [given] if isinstance(given, str) else given:
        found |= _TYPES.get(name, 0)
    return found


def _count(keywords: Mapping[str, Any], keyword: str, otherwise: int) -> int:
    count = keywords.get(keyword, otherwise)
    if type(count) is not int or not 0 <= count <= MOST_COUNT:
        raise NotPlain(f"{keyword} {count!r}")
    return count


def _constrain_number(node: Node, keywords: Mapping[str, Any]) -> None:
    bounds: dict[str, float] = {keyword: keywords[keyword] for keyword in _BOUNDS if keyword in keywords}
    if not all(type(bound) in {int, float} and abs(bound) <= _MOST_BOUND for bound in bounds.values()):
        raise NotPlain("a bound that a double does not hold")
    least, more = bounds.get("minimum", -_GIANT), bounds.get("exclusiveMinimum", -_GIANT)
    most, less = bounds.get("maximum", _GIANT), bounds.get("exclusiveMaximum", _GIANT)
    node.least, node.most = max(math.ceil(least), math.floor(more) + 1), min(math.floor(most), math.ceil(less) - 1)
    if "minimum" in bounds or "exclusiveMinimum" in bounds:
        node.lowest = max(least, math.nextafter(more, math.inf))
    if "maximum" in bounds or "exclusiveMaximum" in bounds:
        node.highest = min(most, math.nextafter(less, -math.inf))
