"""The JSON types that a schema allows in each column of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, cast
from urllib.parse import unquote

#: JSON types; None is any. "number" always comes with "integer".
Types = frozenset[str] | None

_TYPE_OF: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}


@dataclass(frozen=True)
class Column:
    """The schema of a column."""

    types: Types = None
    #: Whether the field is required but nullable.
    is_null_if_empty: bool = False


_ANY = Column()


@dataclass(frozen=True)
class Columns:
    """The schemas of named columns, and of all others."""

    named: Mapping[str, Column] = field(default_factory=dict[str, Column])
    others: Column = _ANY

    def of(self, name: str) -> Column:
        """Return the schema of the column of that name."""
        return self.named.get(name, self.others)


def columns_of(schema: object) -> Columns:
    """Return the schemas of a document's fields.

    References within the schema, ``allOf``, ``anyOf``, ``oneOf``, ``const`` and ``enum`` are followed, since generators
    such as pydantic write optional fields and shared models with them.
    """
    fields = _Schema(schema).fields(schema)
    named = {
        name: Column(types, is_null_if_empty=name in fields.required and types is not None and "null" in types)
        for name, types in fields.types.items()
    }
    return Columns(named, Column(fields.others))


@dataclass
class _Fields:
    """The fields that a schema defines."""

    types: dict[str, Types] = field(default_factory=dict[str, Types])
    required: set[str] = field(default_factory=set[str])
    others: Types = None

    def restrict(self, other: _Fields) -> None:
        """Also apply the restrictions of another schema (allOf)."""
        for name, types in other.types.items():
            self.types[name] = _both(self.types.get(name), types)
        self.required |= other.required
        self.others = _both(self.others, other.others)


def _one_of(choices: Sequence[_Fields]) -> _Fields:
    """Return the union of alternative schemas (anyOf): a field may be of any type that one of them allows."""
    names = dict.fromkeys(name for fields in choices for name in fields.types)
    types = {name: reduce(_either, [one.types[name] for one in choices if name in one.types]) for name in names}
    return _Fields(types, set[str].intersection(*(one.required for one in choices)))


class _Schema:
    """A schema whose references are resolved, each only once, so that circular ones terminate."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._types: dict[str, Types] = {}
        self._fields: dict[str, _Fields] = {}

    def fields(self, node: object) -> _Fields:
        """Return the fields of an object schema, including its subschemas."""
        schema = _members(node)
        found = _Fields(
            {name: self.types(wanted) for name, wanted in _members(schema.get("properties")).items()},
            {name for name in _items(schema.get("required")) if isinstance(name, str)},
        )
        if isinstance(schema.get("additionalProperties"), Mapping):
            found.others = self.types(schema["additionalProperties"])
        if isinstance(reference := schema.get("$ref"), str):
            if reference not in self._fields:
                self._fields[reference] = _Fields()
                self._fields[reference] = self.fields(self._target(reference))
            found.restrict(self._fields[reference])
        for part in _items(schema.get("allOf")):
            found.restrict(self.fields(part))
        for choices in (_items(schema.get("anyOf")), _items(schema.get("oneOf"))):
            if choices:
                found.restrict(_one_of([self.fields(choice) for choice in choices]))
        return found

    def types(self, node: object) -> Types:
        """Return the types that a schema may accept."""
        if node is False:
            return frozenset()
        schema = _members(node)
        found: Types = None
        if "type" in schema:
            said = _items(schema["type"]) or [schema["type"]]
            found = _widened(name for name in said if isinstance(name, str))
        if "const" in schema:
            found = _both(found, _of_values([schema["const"]]))
        if isinstance(schema.get("enum"), list):
            found = _both(found, _of_values(schema["enum"]))
        if isinstance(reference := schema.get("$ref"), str):
            if reference not in self._types:
                self._types[reference] = None
                self._types[reference] = self.types(self._target(reference))
            found = _both(found, self._types[reference])
        for part in _items(schema.get("allOf")):
            found = _both(found, self.types(part))
        for choices in (_items(schema.get("anyOf")), _items(schema.get("oneOf"))):
            if choices:
                found = _both(found, reduce(_either, map(self.types, choices)))
        return found

    def _target(self, reference: str) -> object:
        """Return the target of a reference within the document; for other references True, which allows anything."""
        if not reference.startswith("#"):
            return True
        found = self._root
        for part in unquote(reference[1:]).split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            items = _items(found)
            is_item = name.isdecimal() and int(name) < len(items)
            found = items[int(name)] if is_item else _members(found).get(name, True)
        return found


def _widened(names: Iterable[str]) -> frozenset[str]:
    found = frozenset(names)
    return found | {"integer"} if "number" in found else found


def _of_values(values: Iterable[object]) -> frozenset[str]:
    return _widened(_TYPE_OF.get(type(value), "null") for value in values)


def _both(one: Types, other: Types) -> Types:
    return other if one is None else one if other is None else one & other


def _either(one: Types, other: Types) -> Types:
    return None if one is None or other is None else one | other


def _members(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _items(value: object) -> Sequence[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
