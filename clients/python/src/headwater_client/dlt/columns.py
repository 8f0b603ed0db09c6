"""The columns of a table with a stream's documents, from the JSON Schema of its External."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

#: Columns that every table has.
ID = "_id"
TASK = "_task"
DOCUMENT = "_document"
DELETED = "_deleted"
OWN = (ID, TASK, DOCUMENT, DELETED)


class ColumnType(StrEnum):
    """Types of columns, as dlt names them."""

    TEXT = "text"
    BIGINT = "bigint"
    DOUBLE = "double"
    BOOL = "bool"


#: By type of JSON Schema: the type of the column.
_TYPES = {
    "string": ColumnType.TEXT,
    "integer": ColumnType.BIGINT,
    "number": ColumnType.DOUBLE,
    "boolean": ColumnType.BOOL,
}


@dataclass(frozen=True)
class Column:
    """A column with a field of the documents."""

    #: Name of the column.
    name: str
    #: Name of the field in the document.
    field: str
    type: ColumnType


def columns_of(schema: Mapping[str, Any] | bool | None, naming: Callable[[str], str] = str) -> Sequence[Column]:
    """Return a column for each top-level field that the schema gives one scalar type, or one that may be null.

    Args:
        schema: a JSON Schema.
        naming: returns the name that a database has for a field; of two fields with one name, the second gets ``_2``.
    """
    properties: object = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        return ()
    columns: list[Column] = []
    taken: set[str] = set(OWN)
    for field, described in cast("Mapping[str, Any]", properties).items():
        kind = _type_of(described)
        if kind is None:
            continue
        name = _free(naming(field), taken)
        taken.add(name)
        columns.append(Column(name=name, field=field, type=kind))
    return tuple(columns)


def _type_of(described: object) -> ColumnType | None:
    if not isinstance(described, Mapping):
        return None
    given = cast("Mapping[str, object]", described).get("type")
    kinds = cast("list[object]", given) if isinstance(given, list) else [given]
    kinds = [kind for kind in kinds if kind != "null"]
    return _TYPES.get(kinds[0]) if len(kinds) == 1 and isinstance(kinds[0], str) else None


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
