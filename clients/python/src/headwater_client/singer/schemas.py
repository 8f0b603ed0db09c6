"""Schemas of Singer streams, from those of Externals and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

from singer_sdk.singerlib.schema import resolve_schema_references  # pyright: ignore[reportUnknownVariableType]

#: Fields of every record of the tap.
ID, TASK, DOCUMENT, DELETED_AT = "_id", "_task", "_document", "_sdc_deleted_at"
_OWN: dict[str, Any] = {
    ID: {"type": ["string"]},
    TASK: {"type": ["string", "null"]},
    DELETED_AT: {"type": ["string", "null"], "format": "date-time"},
}
_WHOLE: dict[str, Any] = {DOCUMENT: {"type": ["object", "null"], "additionalProperties": True}}
#: Begins the names of the fields that Singer adds to records.
METADATA = "_sdc_"
#: Holds the id of records whose key is not one string or integer.
KEY = "_key"


def fields_of(schema: Mapping[str, Any] | bool | None) -> dict[str, str]:
    """Return by field of records the one of documents: those that the schema names."""
    properties: object = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        return {}
    fields = cast("Mapping[str, Any]", properties)
    taken = {ID, TASK, DOCUMENT, DELETED_AT, *fields}
    named: dict[str, str] = {}
    for field in fields:
        name, number = field, 1
        while name in _OWN or name == DOCUMENT or name in named or (name != field and name in taken):
            number += 1
            name = f"{field}_{number}"
        named[name] = field
    return named


def schema_of_records(schema: Mapping[str, Any] | bool | None, *, whole: bool) -> dict[str, Any]:
    """Return the schema of a stream's records: each field may be null, as it is where a document was deleted."""
    fields = fields_of(schema)
    described: Mapping[str, Any] = _resolved(schema)["properties"] if fields and isinstance(schema, Mapping) else {}
    properties = {name: _nullable(described[field]) for name, field in fields.items()}
    return {"type": "object", "properties": {**_OWN, **properties, **(_WHOLE if whole else {})}}


def schema_of_documents(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an External for the records of a SCHEMA message."""
    kept = {name: value for name, value in schema["properties"].items() if not name.startswith(METADATA)}
    return {**{name: value for name, value in schema.items() if name != "required"}, "properties": kept}


def id_field_of(schema: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """Return the field with the ids of records: their key, or ``_key`` if that is not one string or integer.

    None: they have no key.
    """
    if not keys:
        return None
    described: Any = schema["properties"].get(keys[0])
    given: object = cast("Mapping[str, object]", described).get("type") if isinstance(described, Mapping) else None
    types: list[object] = cast("list[object]", given) if isinstance(given, list) else [given]
    return keys[0] if len(keys) == 1 and {*types} - {"null"} in ({"string"}, {"integer"}) else KEY


def _resolved(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without references; a field that refers to itself may be anything."""
    whole = copy.deepcopy(dict(schema))
    for name, described in whole["properties"].items():
        try:
            alone = {**whole, "properties": {name: copy.deepcopy(described)}}
            whole["properties"][name] = resolve_schema_references(alone)["properties"][name]
        except RecursionError:
            whole["properties"][name] = {}
    return whole


def _nullable(described: Any) -> dict[str, Any]:
    if not isinstance(described, Mapping):
        return {}
    described = dict(cast("Mapping[str, Any]", described))
    given = described.get("type")
    if isinstance(given, str):
        described["type"] = [given, "null"]
    elif isinstance(given, list):
        described["type"] = [*given, *([] if "null" in given else ["null"])]
    elif described:
        return {"anyOf": [described, {"type": "null"}]}
    if "enum" in described and None not in described["enum"]:
        described["enum"] = [*described["enum"], None]
    return described if "const" not in described else {"anyOf": [described, {"type": "null"}]}
