"""The documents of a page of a stream as a table: its columns, and what would be different without some runs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from headwater.console import json_markup

#: Columns that are shown where none are chosen.
COLUMNS = 7
#: Fields of an object that is told by them.
MOST_UNFOLDED = 5
#: Columns that can be chosen.
MOST_COLUMNS = 200


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value in the table."""

    #: Whether the document has the field.
    is_there: bool
    value: Any
    #: Whether it is another one than the stream shows now.
    is_changed: bool
    now: Any


@dataclass(frozen=True, kw_only=True)
class DocumentRow:
    """A document in the table."""

    id: str
    cells: Sequence[Cell]
    #: Whether the stream shows it now, and would not.
    is_gone: bool


@dataclass(frozen=True, kw_only=True)
class DocumentTable:
    """A page of documents."""

    columns: Sequence[str]
    #: All fields of the documents on the page, the commonest first.
    fields: Sequence[str]
    rows: Sequence[DocumentRow]


def table_of(
    docs: Sequence[tuple[str, str]], *, chosen: Sequence[str], present: Sequence[tuple[str, str]] | None = None
) -> DocumentTable:
    """Return documents, by id and text, as a table; ``present`` are those that the stream shows now, to compare."""
    shown = {doc_id: json_markup.decoded(text) for doc_id, text in docs}
    now = None if present is None else {doc_id: json_markup.decoded(text) for doc_id, text in present}
    fields = _fields([*shown.values(), *(now or {}).values()])
    columns = [name for name in chosen if name] or _telling(fields, shown)[:COLUMNS]
    rows = [
        DocumentRow(id=doc_id, cells=_cells(doc, columns, None if now is None else now.get(doc_id, {})), is_gone=False)
        for doc_id, doc in shown.items()
    ]
    rows += [
        DocumentRow(id=doc_id, cells=_cells(doc, columns, None), is_gone=True)
        for doc_id, doc in (now or {}).items()
        if doc_id not in shown
    ]
    return DocumentTable(
        columns=columns, fields=fields, rows=sorted(rows, key=lambda row: row.id.encode("utf-8", "replace"))
    )


def _telling(fields: Sequence[str], shown: dict[str, Any]) -> list[str]:
    """Return the fields without the one that repeats the ids."""
    return [
        name for name in fields if not shown or any(str(_of(doc, name)[1]) != doc_id for doc_id, doc in shown.items())
    ]


def _fields(docs: Sequence[Any]) -> list[str]:
    """Return the top-level fields, the commonest first; of equal ones, as they stand in the documents."""
    found: Counter[str] = Counter()
    for doc in docs:
        if isinstance(doc, dict):
            found.update(_unfolded(cast("dict[str, Any]", doc)))
    return [name for name, _ in found.most_common(MOST_COLUMNS)]


def _unfolded(doc: dict[str, Any]) -> Iterator[str]:
    """Yield the names of a document's fields; a small object is told by its own fields, ``author.name``."""
    for name, value in doc.items():
        members = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        if 0 < len(members) <= MOST_UNFOLDED and not any(isinstance(each, dict | list) for each in members.values()):
            yield from (f"{name}.{inner}" for inner in members)
        else:
            yield name


def _cells(doc: Any, columns: Sequence[str], now: Any) -> list[Cell]:
    return [_cell(doc, name, now) for name in columns]


def _cell(doc: Any, name: str, now: Any) -> Cell:
    is_there, value = _of(doc, name)
    was_there, present = _of(now, name) if now is not None else (is_there, value)
    is_changed = is_there != was_there or (is_there and bool(json_markup.differences(value, present)))
    return Cell(is_there=is_there, value=value, is_changed=is_changed, now=present)


def _of(doc: Any, name: str) -> tuple[bool, Any]:
    if not isinstance(doc, dict):
        return False, None
    members = cast("dict[str, Any]", doc)
    outer, dot, inner = name.partition(".")
    if name in members or not dot:
        return name in members, members.get(name)
    return _of(members.get(outer), inner)


def top_level(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the top-level fields that columns are from."""
    return tuple(dict.fromkeys(name.partition(".")[0] for name in columns))
