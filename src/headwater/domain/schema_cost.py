"""An upper bound on the cost of validation by a JSON Schema, computed without running it.

The bound is the number of steps for each value of a document. A schema has one unless it uses something of
unpredictable cost: more than one reference to itself for one value, patterns that take more than linear time, or
``unevaluatedProperties``, ``$dynamicRef`` and the like.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

from headwater.domain.regex_cost import RegexCost, regex_cost
from headwater.domain.schema import HOLD_NAMES

#: A schema with more steps for a value counts as unbounded.
MOST_STEPS = 100_000
#: Maximum steps to compile a schema in the server process, about a twentieth of a second.
MOST_COMPILATION = 20_000
#: A schema with more subschemas counts as unbounded.
_MOST_SUBSCHEMAS = 5000
#: Maximum iterations over circular references in the search for a bound.
_MOST_ROUNDS = 100
#: Maximum steps of one ``format`` and of one ``multipleOf`` with a fraction.
_FORMAT, _FRACTION = 50, 1000

#: Keywords whose subschemas apply to the same value: one subschema, an array of them, or an object of them.
_SAME_VALUE = {"not", "if", "then", "else", "allOf", "anyOf", "oneOf", "dependentSchemas", "dependencies"}
#: Keywords whose subschemas apply to values within the value. Of a group, one applies to each of them.
_WITHIN = (("properties", "additionalProperties"), ("prefixItems", "items", "additionalItems"))
_WITHIN_EACH = ("contains", "propertyNames")
_UNBOUNDED = {"unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef", "$recursiveAnchor"}
#: Keywords whose value is compared, or quoted in an error, as a whole.
_QUOTED = ("enum", "const", "not")
#: Keywords whose value contains no schemas.
_DATA = {"enum", "const", "default", "examples"}


@dataclass(frozen=True, kw_only=True)
class SchemaCost:
    """The cost of a schema."""

    #: Maximum steps for each value of a document; infinite if unbounded.
    per_value: float
    #: Steps to compile it; infinite if it is too large to determine.
    compilation: float
    #: Maximum bytes of the schema that an error about one value quotes.
    quoted: int
    #: Whether it has patterns that must be replaced by their linear form to meet the bound.
    is_rewritten: bool

    @property
    def is_compiled_quickly(self) -> bool:
        """Whether it may be compiled in the server process."""
        return self.compilation <= MOST_COMPILATION


UNBOUNDED = SchemaCost(per_value=math.inf, compilation=math.inf, quoted=0, is_rewritten=False)


def schema_cost(schema: Any) -> SchemaCost:
    """Return the cost of a JSON Schema; one that cannot be parsed is unbounded."""
    try:
        return _Analysis(schema).cost()
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError):
        return UNBOUNDED


def with_linear_patterns(schema: Any) -> Any:
    """Return a schema with its patterns in their linear form, if they have one."""
    if isinstance(schema, list):
        return [with_linear_patterns(each) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    return {keyword: _linear(keyword, value) for keyword, value in cast("dict[str, Any]", schema).items()}


def _linear(keyword: str, value: Any) -> Any:
    if keyword in _DATA:
        return value
    if keyword == "pattern" and isinstance(value, str):
        return regex_cost(value).linear
    if keyword in HOLD_NAMES and isinstance(value, dict):
        return {name: with_linear_patterns(each) for name, each in cast("dict[str, Any]", value).items()}
    return with_linear_patterns(value)


@dataclass(eq=False)
class _Node:
    """A subschema."""

    #: Steps of its own keywords for one value.
    own: float = 1.0
    #: Subschemas that apply to the same value.
    same: "list[_Node]" = field(default_factory=list["_Node"])
    #: Groups of subschemas that apply to values within it; one of each group does.
    within: "list[list[_Node]]" = field(default_factory=list[list["_Node"]])
    #: Bounds on the steps for one value: this one, one directly within it, and any.
    here: float = 0.0
    inside: float = 0.0
    anywhere: float = 0.0

    def improve(self) -> bool:
        """Compute the bounds from those of its subschemas; return whether they have grown."""
        before = self.here, self.inside, self.anywhere
        self.here = self.own + sum(node.here for node in self.same)
        self.inside = sum(node.inside for node in self.same)
        self.inside += sum(max(node.anywhere for node in group) for group in self.within)
        self.anywhere = max(self.here, self.inside)
        return before != (self.here, self.inside, self.anywhere)


class _Analysis:
    """Computes the cost of one schema."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._nodes: dict[int, _Node] = {}
        #: Subschemas come before the schemas that contain them.
        self._order: list[_Node] = []
        self._compilation = 0.0
        self._quoted = 0
        self._is_rewritten = False

    def cost(self) -> SchemaCost:
        root = self._node(self._root)
        per_value = math.inf
        for _ in range(_MOST_ROUNDS):
            has_grown = sum(node.improve() for node in self._order) > 0
            if root.anywhere > MOST_STEPS:
                break
            if not has_grown:
                per_value = root.anywhere
                break
        return SchemaCost(
            per_value=per_value,
            compilation=self._compilation,
            quoted=self._quoted,
            is_rewritten=self._is_rewritten,
        )

    def _node(self, schema: Any) -> _Node:
        if isinstance(schema, bool):
            return _Node(here=1.0, anywhere=1.0)
        node = self._nodes.get(id(schema))
        if node is not None:
            return node
        if len(self._nodes) > _MOST_SUBSCHEMAS:
            raise ValueError("too many subschemas")
        node = self._nodes[id(schema)] = _Node()
        keywords = cast("dict[str, Any]", schema)
        if keywords.keys() & _UNBOUNDED or (keywords is not self._root and keywords.keys() & {"$id", "id", "$schema"}):
            raise ValueError("a keyword whose cost cannot be told")
        node.own = 1 + sum(self._steps(keyword, value) for keyword, value in keywords.items())
        node.same = [self._node(each) for each in self._of_same_value(keywords)]
        node.within = [[self._node(each) for each in group] for group in _within(keywords) if group]
        for pattern, each in keywords.get("patternProperties", {}).items():
            # Each pattern is tried on each name, and again to find additional properties.
            node.own += 2 * self._pattern(pattern, may_rewrite=False)
            node.within.append([self._node(each)])
        self._order.append(node)
        self._compilation += 10 + node.own
        return node

    def _of_same_value(self, keywords: Mapping[str, Any]) -> Iterator[Any]:
        if "$ref" in keywords:
            yield self._target(keywords["$ref"])
        for keyword in _SAME_VALUE & keywords.keys():
            value = keywords[keyword]
            if isinstance(value, list):
                yield from cast("list[Any]", value)
            elif keyword in {"dependentSchemas", "dependencies"}:
                yield from (each for each in value.values() if not isinstance(each, list))
            else:
                yield value

    def _target(self, pointer: str) -> Any:
        if pointer != "#" and not pointer.startswith("#/"):
            raise ValueError("a reference that is not JSON pointer")
        found: Any = self._root
        for part in unquote(pointer[1:]).split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            found = cast("Any", found[int(name)] if isinstance(found, list) else found[name])
        if not isinstance(found, dict | bool):
            raise TypeError("a reference to something that is no schema")
        return cast("Any", found)

    def _steps(self, keyword: str, value: Any) -> float:
        """Return the steps of a keyword for one value, without subschemas."""
        if keyword in _QUOTED:
            size = len(json.dumps(value))
            self._quoted = max(self._quoted, size)
            return 1 if keyword == "not" else 1 + size / 4
        if keyword == "pattern":
            return self._pattern(value, may_rewrite=True)
        if keyword == "format":
            if value == "regex":
                raise ValueError("expressions that documents bring")
            return _FORMAT
        if keyword == "multipleOf":
            return 8 if isinstance(value, int) else _FRACTION
        if keyword in {"required", "properties", "dependentRequired", "dependencies", "dependentSchemas", "type"}:
            return 1 + _count(value)
        return 16 if keyword == "uniqueItems" else 1

    def _pattern(self, pattern: str, *, may_rewrite: bool) -> float:
        cost: RegexCost = regex_cost(pattern)
        if cost.linear != pattern:
            if not may_rewrite:
                raise ValueError("a pattern that takes more than linear time")
            self._is_rewritten = True
        if math.isinf(cost.per_byte):
            raise ValueError("a pattern that takes more than linear time")
        return cost.per_byte


def _within(keywords: Mapping[str, Any]) -> Iterator[list[Any]]:
    for group in _WITHIN:
        found: list[Any] = []
        for keyword in group:
            value = keywords.get(keyword)
            if isinstance(value, list):
                found += cast("list[Any]", value)
            elif keyword == "properties" and value is not None:
                found += cast("dict[str, Any]", value).values()
            elif value is not None:
                found.append(value)
        yield found
    for keyword in _WITHIN_EACH:
        if keyword in keywords:
            yield [keywords[keyword]]


def _count(value: Any) -> int:
    if isinstance(value, dict):
        return sum(1 + _count(each) if isinstance(each, list) else 1 for each in cast("dict[str, Any]", value).values())
    return len(cast("list[Any]", value)) if isinstance(value, list) else 1
