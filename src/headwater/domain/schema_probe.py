"""Finds where a document violates its schema, in bounded time even if a full explanation would take very long.

A full explanation lists the errors of each branch of each ``anyOf``, which may be exponentially many, whereas a
check stops at the first. So this only checks whether parts of the document are valid against parts of the schema,
and descends to the innermost part that is not.
"""

from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import unquote

import jsonschema_rs

from headwater.domain.errors import Flaw
from headwater.domain.schema import PATTERNS, cut, json_pointer

#: Maximum depth of the descent.
_DEEPEST = 200
#: Keywords that can be checked in isolation.
_ALONE = (
    *("type", "required", "enum", "const", "format", "pattern", "minLength", "maxLength", "multipleOf"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "uniqueItems"),
)


def probe(schema: Any, document: Any) -> Flaw | None:
    """Return one flaw of a document: where it violates the schema; None if that cannot be determined.

    Raises:
        ValueError: the document is nested deeper than the validator's limit.
    """
    if not isinstance(schema, dict):
        return None
    try:
        parts = jsonschema_rs.validator_map_for(cast("dict[str, Any]", schema), pattern_options=PATTERNS, offline=True)
    except ValueError:
        return None
    root = cast("dict[str, Any]", schema)
    path: list[str | int] = []
    pointer, said, value = "#", root, document
    for _ in range(_DEEPEST):
        for names, steps, inner, each in _parts(root, said, value):
            there = ("#" if names[:1] == ["#"] else pointer) + json_pointer(names[names[:1] == ["#"] :])
            part = parts.get(there)
            if part is not None and isinstance(inner, dict) and not part.is_valid(each):
                pointer, said, value = there, cast("dict[str, Any]", inner), each
                path += steps
                break
        else:
            break
    keyword = next((name for name in _ALONE if name in said and not _holds(root, name, said[name], value)), None)
    keyword = keyword or next((name for name in ("anyOf", "oneOf", "not") if name in said), None)
    if pointer == "#" and keyword is None:
        return None
    place = unquote(pointer[1:]) + (f"/{keyword}" if keyword else "")
    if keyword in {"anyOf", "oneOf"}:
        detail = f"the value does not match the {len(said[keyword])} schemas of {keyword} as it must"
    else:
        detail = f"the value does not match the schema at {place}"
    return Flaw(detail=cut(detail), pointer=json_pointer(path), keyword=keyword, schema_pointer=place)


def _holds(root: dict[str, Any], keyword: str, said: Any, value: Any) -> bool:
    alone = {"$schema": root["$schema"]} if "$schema" in root else {}
    return jsonschema_rs.is_valid({**alone, keyword: said}, value, pattern_options=PATTERNS, offline=True)


_Part = tuple[list[str | int], list[str | int], Any, Any]


def _parts(root: dict[str, Any], said: dict[str, Any], value: Any) -> Iterator[_Part]:
    """Yield subschemas: their path in the schema (or, after ``#``, in the root), and the part of the value.

    The path in the value is the second item.
    """
    reference = said.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        names = [name.replace("~1", "/").replace("~0", "~") for name in unquote(reference[2:]).split("/")]
        yield ["#", *names], [], _at(root, names), value
    for place, inner in enumerate(_list(said.get("allOf"))):
        yield ["allOf", place], [], inner, value
    if isinstance(value, dict):
        known = _dict(said.get("properties"))
        for name, each in cast("dict[str, Any]", value).items():
            if name in known:
                yield ["properties", name], [name], known[name], each
            elif "patternProperties" not in said:
                yield ["additionalProperties"], [name], said.get("additionalProperties"), each
    elif isinstance(value, list):
        tuple_like = _list(said.get("prefixItems"))
        for place, each in enumerate(cast("list[Any]", value)):
            if place < len(tuple_like):
                yield ["prefixItems", place], [place], tuple_like[place], each
            else:
                yield ["items"], [place], said.get("items"), each


def _at(root: Any, names: list[str]) -> Any:
    for name in names:
        root = cast("dict[str, Any]", root).get(name) if isinstance(root, dict) else None
    return root


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
