"""Reads CSV files: each row is a document, whose fields are named by the header."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import chain, repeat
from typing import BinaryIO, NamedTuple

from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.push.cells import Conversion, as_text, conversion_to
from headwater_client.cli.push.column_types import Columns
from headwater_client.cli.push.delimiters import Lines, delimiter_of, split

# The maximum size of a cell is that of a document.
csv.field_size_limit(min(256 << 20, sys.maxsize))

#: Called for each row that is set aside, with its number and the error.
Aside = Callable[[int, str], None]

_QUOTED = 60
#: Maximum lines of a row in lenient mode; otherwise an unclosed quote would consume the rest of the file.
_LONGEST = 10_000


class _Field(NamedTuple):
    """How the cells of a column are converted to members of an object."""

    #: The name as JSON, and a colon.
    begin: str
    noun: str
    convert: Conversion
    is_text: bool
    #: JSON for an empty cell; None omits the field.
    empty: str | None


def documents(
    stream: BinaryIO,
    name: str,
    columns: Columns,
    *,
    delimiter: str | None = None,
    is_tab_separated: bool = False,
    aside: Aside | None = None,
) -> Iterator[tuple[int, bytes]]:
    """Iterate over rows as lines of JSON, each with its number; the header is row 1.

    A cell is a string, or of the type in the schema. Empty cells and empty rows are omitted; a quoted empty cell,
    ``""``, is an empty string.

    Args:
        stream: the file, in UTF-8.
        name: the file's name.
        columns: schemas of the columns.
        delimiter: the delimiter; None detects it.
        is_tab_separated: whether the file extension is ``.tsv``.
        aside: lenient mode: called for each invalid row, which is yielded as a line that the server rejects, too.

    Raises:
        CliError: a row is not CSV, or a cell is not of its column's type.
    """
    # In lenient mode, invalid UTF-8 is passed on unchanged, and rejected by the server.
    errors = "strict" if aside is None else "surrogateescape"
    lines = Lines(io.TextIOWrapper(stream, encoding="utf-8-sig", errors=errors, newline=""))
    said = delimiter_of(lines, name, said=delimiter, is_tab_separated=is_tab_separated)
    yield from _Table(lines, name, columns, said, aside).documents()


class _Table:
    """A file that is read row by row."""

    def __init__(self, lines: Lines, name: str, columns: Columns, delimiter: str, aside: Aside | None) -> None:
        self._lines = lines
        self._name = name
        self._columns = columns
        self._delimiter = delimiter
        self._aside = aside
        self._fields: list[_Field] | None = None
        self._number = 0

    def documents(self) -> Iterator[tuple[int, bytes]]:
        while (yield from self._until_broken()):
            pass

    def _until_broken(self) -> Generator[tuple[int, bytes], None, bool]:
        """Yield documents up to and including the first row that is not CSV; return whether to continue after it."""
        try:
            yield from self._rows()
        except csv.Error as error:
            self._number += 1
            what = f"this is not CSV: {error}"
            if self._aside is None or self._fields is None:
                raise self._wrong(self._number, what) from error
            first, *rest = self._lines.taken or [""]
            self._lines.put_back(rest)
            self._lines.taken = []
            yield self._number, self._kept_aside(what, as_text(first.rstrip("\r\n")))
            return True
        return False

    def _rows(self) -> Iterator[tuple[int, bytes]]:
        """Yield documents until the end, or until a row is not CSV."""
        lines, delimiter = self._lines, self._delimiter
        for cells in csv.reader(lines, delimiter=delimiter, strict=True):
            self._number += 1
            raw, lines.taken = lines.taken, []
            if not cells:
                continue
            if self._fields is None:
                self._fields = self._header(split("".join(raw), delimiter))
                lines.most = None if self._aside is None else _LONGEST
                continue
            quoted = _quoted(raw, delimiter) if "" in cells else None
            line = self._document(cells, quoted, self._fields)
            if line is not None:
                yield self._number, line

    def _header(self, cells: Sequence[tuple[str, bool]]) -> list[_Field]:
        titles = [(cell if is_quoted else cell.strip(), is_quoted) for cell, is_quoted in cells]
        while titles and titles[-1] == ("", False):
            titles.pop()
        names = [title for title, _ in titles]
        if ("", False) in titles:
            raise self._wrong(1, f"column {titles.index(('', False)) + 1} has no name in the header")
        if len(set(names)) < len(names):
            twice = next(title for title in names if names.count(title) > 1)
            raise self._wrong(1, f"two columns are called {twice!r}")
        return [self._field(title) for title in names]

    def _field(self, title: str) -> _Field:
        column = self._columns.of(title)
        noun, convert = conversion_to(column.types)
        return _Field(
            begin=f"{as_text(title)}:",
            noun=noun,
            convert=convert,
            is_text=convert is as_text,
            empty="null" if column.is_null_if_empty else None,
        )

    def _document(self, cells: Sequence[str], quoted: Sequence[bool] | None, fields: Sequence[_Field]) -> bytes | None:
        """Return the document of a row; None if all of its cells are empty."""
        if len(cells) > len(fields) and any(map(str.strip, cells[len(fields) :])):
            return self._too_many(cells, len(fields))
        members: list[str] = []
        is_blank = True
        for place, (cell, field) in enumerate(zip(chain(cells, repeat("")), fields, strict=False)):
            begin, _, convert, is_text, empty = field
            if cell or (quoted and is_text and place < len(quoted) and quoted[place]):
                is_blank = False
                value = convert(cell)
                members.append(begin + (self._misfit(field, cell) if value is None else value))
            elif empty is not None:
                members.append(begin + empty)
        return None if is_blank else _line(f"{{{','.join(members)}}}")

    def _misfit(self, field: _Field, cell: str) -> str:
        """Return a cell as a string: the server rejects the document, and can replay it when the schema is changed."""
        what = f"column {field.begin[:-1]}: {_short(cell)} is no {field.noun}"
        if self._aside is None:
            raise self._wrong(self._number, what)
        self._aside(self._number, what)
        return as_text(cell)

    def _too_many(self, cells: Sequence[str], expected: int) -> bytes:
        what = f"there are {len(cells)} cells, and the header has {expected}"
        if self._aside is None:
            raise self._wrong(self._number, what)
        return self._kept_aside(what, f"[{','.join(map(as_text, cells))}]")

    def _kept_aside(self, what: str, line: str) -> bytes:
        """Return a line that is JSON but not an object, which the server rejects whatever the schema."""
        if self._aside is not None:
            self._aside(self._number, what)
        return _line(line)

    def _wrong(self, number: int, what: str) -> CliError:
        return CliError(f"{self._name}, row {number}: {what}", code=ExitCode.REJECTED)


def _quoted(raw: Sequence[str], delimiter: str) -> list[bool] | None:
    """Return which cells of a row are quoted; None if no empty cell is."""
    text = raw[0] if len(raw) == 1 else "".join(raw)
    return [is_quoted for _, is_quoted in split(text, delimiter)] if '""' in text else None


def _line(text: str) -> bytes:
    return f"{text}\n".encode(errors="surrogateescape")


def _short(cell: str) -> str:
    return as_text(cell if len(cell) <= _QUOTED else cell[:_QUOTED] + "…").encode(errors="replace").decode()
