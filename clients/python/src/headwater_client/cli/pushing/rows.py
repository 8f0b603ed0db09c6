"""The rows of a CSV file: each is a document, whose fields the header names."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Callable, cast

from headwater_client.cli.endings import Code, Refusal

#: Characters of a cell: as many as a document may have bytes.
csv.field_size_limit(min(256 << 20, sys.maxsize))

_TEXT = json.JSONEncoder(ensure_ascii=False).encode
_INTEGER = re.compile(r"-?(0|[1-9]\d*)")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_BOOLEANS = {"true": "true", "1": "true", "false": "false", "0": "false"}
_QUOTED = 60


def kinds_of(schema: object) -> dict[str, str]:
    """Return the fields that a schema wants as numbers or booleans, and not also as texts."""
    found: dict[str, str] = {}
    for name, wanted in _members(_members(schema).get("properties")).items():
        said = _members(wanted).get("type")
        types = cast("list[Any]", said if isinstance(said, list) else [said])
        kind = next((kind for kind in ("number", "integer", "boolean") if kind in types), None)
        if kind is not None and "string" not in types:
            found[name] = kind
    return found


def _members(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def documents(stream: BinaryIO, name: str, delimiter: str, kinds: Mapping[str, str]) -> Iterator[tuple[int, bytes]]:
    """Iterate over rows as lines of JSON, each with its number; the header is row 1.

    A cell is a text, or what its column's kind says. An empty one is left away.

    Raises:
        Refusal: a row is no CSV, or a cell not of its column's kind.
    """
    reader = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), delimiter=delimiter, strict=True)
    number = 0
    columns: list[tuple[str, Callable[[str], str | None]]] | None = None
    try:
        for cells in reader:
            number += 1
            if not cells:
                continue
            if columns is None:
                columns = [(f"{_TEXT(title)}:", _WAYS[kinds.get(title, "string")]) for title in _header(cells, name)]
                continue
            if len(cells) > len(columns):
                raise _wrong(name, number, f"there are {len(cells)} cells, and the header has {len(columns)}")
            yield number, _line(cells, columns, name, number)
    except csv.Error as error:
        raise _wrong(name, number + 1, f"this is no CSV: {error}") from error


def _header(cells: list[str], name: str) -> list[str]:
    titles = [cell.strip() for cell in cells]
    if "" in titles:
        raise _wrong(name, 1, f"column {titles.index('') + 1} has no name in the header")
    twice = next((title for title in titles if titles.count(title) > 1), None)
    if twice is not None:
        raise _wrong(name, 1, f"two columns are called {twice!r}")
    return titles


def _line(cells: list[str], columns: list[tuple[str, Callable[[str], str | None]]], name: str, number: int) -> bytes:
    members: list[str] = []
    for cell, (title, way) in zip(cells, columns):
        if cell:
            value = way(cell)
            if value is None:
                raise _wrong(name, number, f"column {title[:-1]}: {_short(cell)} is no {_noun(way)}")
            members.append(title + value)
    return f"{{{','.join(members)}}}\n".encode()


def _wrong(name: str, number: int, what: str) -> Refusal:
    return Refusal(f"{name}, row {number}: {what}", code=Code.REJECTED)


def _short(cell: str) -> str:
    return _TEXT(cell if len(cell) <= _QUOTED else cell[:_QUOTED] + "…")


# Numbers keep their digits: they are not read and written, but looked at.


def _as_number(cell: str) -> str | None:
    text = cell.strip()
    return text if _NUMBER.fullmatch(text) else None


def _as_integer(cell: str) -> str | None:
    text = cell.strip()
    return text if _INTEGER.fullmatch(text) else None


def _as_boolean(cell: str) -> str | None:
    return _BOOLEANS.get(cell.strip().lower())


_WAYS: dict[str, Callable[[str], str | None]] = {
    "string": _TEXT,
    "number": _as_number,
    "integer": _as_integer,
    "boolean": _as_boolean,
}


def _noun(way: Callable[[str], str | None]) -> str:
    return next(kind for kind, known in _WAYS.items() if known is way)
