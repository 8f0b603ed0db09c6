"""A plain schema as a type, so that decoding a document and checking it are one pass, with no dict between.

What such a type takes, the schema takes too. What it does not take may still match (1.0 is an integer to
JSON Schema) and is looked at again in the general way, which also finds the words for what is wrong.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple, Union, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from headwater.domain.schema import compile_schema

#: Blocks of which more than this part had to be looked at again were not worth the try; ...
_MOST_MISSED = 0.25
#: ... so many blocks are then left alone.
_REST = 32
#: A type of more fields is slow to make and to decode.
_MOST_FIELDS = 500

#: They say nothing of whether a document matches.
_ANNOTATIONS = {"title", "description", "$comment", "examples", "default", "deprecated", "readOnly", "writeOnly"}
_DIALECTS = ("https://json-schema.org/draft/2019-09/schema", "https://json-schema.org/draft/2020-12/schema")

#: Look-around and references back.
_TRIES_AGAIN = re.compile(r"\(\?|\\[1-9k]")

_Types = Mapping[str, Callable[[dict[str, Any]], Any]]


class _NotPlain(Exception):
    """The schema says something that a type cannot."""


class _Rule(NamedTuple):
    """What the type of a document does not check by itself."""

    field: Callable[[Any], Any]
    is_valid: Callable[[Any], bool]


class TypedDecoder:
    """Decodes documents of one plain schema and takes their ids; used from many threads."""

    def __init__(self, schema: dict[str, Any], *, field: str) -> None:
        """Make the type.

        Raises:
            ValueError: the schema is not plain, or ``field`` is no top-level string that it demands.
        """
        try:
            struct, names, patterns = _document_type(schema, field)
        except (_NotPlain, TypeError, RecursionError) as error:
            raise ValueError(f"the schema cannot be said as a type: {error}") from error
        self._decode = cast("Any", msgspec.json.Decoder(struct)).decode
        self._id = attrgetter(names[field])
        self._rules = [
            _Rule(attrgetter(names[name]), compile_schema({"pattern": pattern}).is_valid)
            for name, pattern in patterns.items()
        ]
        #: Whether no pattern needs an engine that goes back and tries again.
        self.is_quick = not any(_TRIES_AGAIN.search(pattern) for pattern in patterns.values())
        self._resting = 0

    @property
    def is_worth_trying(self) -> bool:
        """Whether lately most documents could be taken so; where not, only now and then."""
        self._resting = max(0, self._resting - 1)
        return not self._resting

    def ids(self, lines: Sequence[bytes]) -> tuple[list[str | None], list[int]]:
        """Return the id of each document, and the places of those that are to be looked at in the general way."""
        found: list[str | None] = []
        missed: list[int] = []
        append, decode, id_of, rules = found.append, self._decode, self._id, self._rules
        for line in lines:
            try:
                document = decode(line)
                for field, is_valid in rules:
                    value = field(document)
                    if value is not UNSET and not is_valid(value):
                        break
                else:
                    append(id_of(document))
                    continue
            except (msgspec.DecodeError, ValueError, RecursionError):
                pass
            missed.append(len(found))
            append(None)
        if len(missed) > len(lines) * _MOST_MISSED:
            self._resting = _REST
        return found, missed


def _document_type(schema: dict[str, Any], field: str) -> tuple[Any, dict[str, str], dict[str, str]]:
    """Return the type of documents, the attribute of each property, and the patterns of those that have one."""
    dialect = schema.get("$schema")
    # Formats are checked by the drafts before.
    types = _types(formats=dialect is None or dialect in _DIALECTS)
    said = {name: value for name, value in schema.items() if name not in {"$schema", "$id"}}
    if said.get("type") != "object" or "properties" not in said or field not in said.get("required", ()):
        raise _NotPlain("it does not demand an object with properties and an id")
    properties = dict(said["properties"])
    patterns: dict[str, str] = {}
    for name, each in properties.items():
        if isinstance(each, dict) and cast("dict[str, Any]", each).get("type") == "string" and "pattern" in each:
            rest = dict(cast("dict[str, Any]", each))
            patterns[name] = rest.pop("pattern")
            properties[name] = rest
    if _any(properties.get(field), types) is Any or properties[field].get("type") != "string":
        raise _NotPlain("the id is no string")
    struct, names = _struct({**said, "properties": properties}, types)
    return struct, names, patterns


def _types(*, formats: bool) -> _Types:
    types: dict[str, Callable[[dict[str, Any]], Any]] = {
        "string": partial(_string, formats=formats),
        "integer": lambda said: _whole(_bounds(said)),
        "number": lambda said: Union[_whole(_bounds(said)), _fraction(_bounds(said))],  # noqa: UP007 - made when it runs
        "boolean": lambda _said: bool,
        "null": lambda _said: None,
    }
    types["array"] = lambda said: _array(said, types)
    types["object"] = lambda said: _object(said, types)
    return types


#: Which keywords bear on which type; those that are here and not understood are not plain.
_OF_TYPE = {
    "string": {"minLength", "maxLength", "format"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
}


def _any(schema: Any, types: _Types) -> Any:
    """Return the type of a value that a subschema describes."""
    if schema is True:
        return Any
    if not isinstance(schema, dict):
        raise _NotPlain("nothing matches it")
    said = {name: value for name, value in cast("dict[str, Any]", schema).items() if name not in _ANNOTATIONS}
    if not said:
        return Any
    given = said.pop("type", None)
    if "enum" in said or "const" in said:
        return _choice(said, given)
    names: list[str] = cast("list[str]", given) if isinstance(given, list) else [given]
    known = {keyword for name in names for keyword in _OF_TYPE.get(name, ())}
    if unknown := said.keys() - known:
        raise _NotPlain(f"keyword {min(unknown)!r}")
    if not all(name in types for name in names):
        raise _NotPlain(f"type {given!r}")
    return Union[tuple(types[name](said) for name in names)]  # noqa: UP007 - made when it runs


def _choice(said: dict[str, Any], given: Any) -> Any:
    values = said.pop("enum", None) or [said.pop("const", None)]
    if said or given not in {None, "string"} or not all(isinstance(value, str) for value in values):
        raise _NotPlain("a choice of other values than strings")
    return Literal[tuple(values)]


def _string(said: dict[str, Any], *, formats: bool) -> Any:
    if "format" in said and not formats:
        raise _NotPlain("keyword 'format'")
    return _meta(str, min_length=_count(said, "minLength"), max_length=_count(said, "maxLength"))


def _array(said: dict[str, Any], types: _Types) -> Any:
    items = _any(said.get("items", True), types)
    return _meta(list[items], min_length=_count(said, "minItems"), max_length=_count(said, "maxItems"))


def _object(said: dict[str, Any], types: _Types) -> Any:
    if "properties" in said:
        return _struct(said, types)[0]
    if said.get("required") or said.get("additionalProperties", True) is not True:
        raise _NotPlain("an object of unknown properties")
    return dict[str, Any]


def _struct(said: dict[str, Any], types: _Types) -> tuple[Any, dict[str, str]]:
    """Return the type of an object, and the attribute of each property.

    Properties that the schema does not name are left to the general way, even where it allows them: a type
    would skip them, and not see what of them is no text.
    """
    properties: dict[str, Any] = said["properties"]
    required = set(said.get("required", ()))
    others = said.keys() - {"type", "properties", "required", "additionalProperties"} - _ANNOTATIONS
    if others or not isinstance(said.get("additionalProperties", True), bool):
        raise _NotPlain(f"keyword {min(others, default='additionalProperties')!r}")
    if required - properties.keys() or not 0 < len(properties) <= _MOST_FIELDS:
        raise _NotPlain("properties that are demanded and not described, none, or too many")
    names = {name: f"field_{place}" for place, name in enumerate(properties)}
    fields: list[Any] = []
    for name in sorted(properties, key=lambda name: name not in required):
        kind = _any(properties[name], types)
        fields.append(
            (names[name], kind) if name in required else (names[name], Union[kind, UnsetType], UNSET)  # noqa: UP007
        )
    rename = {attribute: name for name, attribute in names.items()}
    struct = cast("Any", msgspec).defstruct("Document", fields, rename=rename, forbid_unknown_fields=True, gc=False)
    return struct, names


def _bounds(said: dict[str, Any]) -> dict[str, float]:
    bounds = {
        short: said[name]
        for short, name in (
            ("ge", "minimum"),
            ("le", "maximum"),
            ("gt", "exclusiveMinimum"),
            ("lt", "exclusiveMaximum"),
        )
        if name in said
    }
    if not all(type(bound) in {int, float} and abs(bound) <= 1 << 53 for bound in bounds.values()):
        raise _NotPlain("a bound that a double does not hold")
    return bounds


def _whole(bounds: dict[str, float]) -> Any:
    rounding = {"ge": math.ceil, "le": math.floor, "gt": math.floor, "lt": math.ceil}
    return _meta(int, **{name: rounding[name](bound) for name, bound in bounds.items()})


def _fraction(bounds: dict[str, float]) -> Any:
    return _meta(float, **{name: float(bound) for name, bound in bounds.items()})


def _count(said: dict[str, Any], keyword: str) -> int | None:
    count = said.get(keyword)
    if count is not None and (type(count) is not int or not 0 <= count < 1 << 31):
        raise _NotPlain(f"{keyword} {count!r}")
    return count


def _meta(kind: Any, **constraints: Any) -> Any:
    given = {name: value for name, value in constraints.items() if value is not None}
    return Annotated[kind, Meta(**given)] if given else kind
