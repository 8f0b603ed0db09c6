"""Detects the delimiter of a CSV file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence

from headwater_client.cli.errors import CliError, ExitCode

#: Delimiters that are detected, most likely first.
DELIMITERS = ",;\t|"
#: Characters that make one column look like several, if each row has as many of them as the header.
_SUSPICIOUS = DELIMITERS + ":^~\x01\x1f"
#: Records after the header that are examined, and maximum lines of a record while doing so.
_SAMPLE = 20
_LONGEST = 1000
_QUOTED = 60
_SEP = re.compile(r"sep=(.)[\r\n]*", re.IGNORECASE)


class Lines:
    """Iterator over the lines of a file, with peek and push-back."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Iterate over the given lines."""
        self._lines = iter(lines)
        self._back: list[str] = []
        #: Lines read since it was last cleared.
        self.taken: list[str] = []
        #: Maximum length of ``taken`` before ``TooManyLines`` is raised; None is unlimited.
        self.most: int | None = None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the lines."""
        return self

    def __next__(self) -> str:
        """Return the next line."""
        if self.most is not None and len(self.taken) >= self.most:
            raise TooManyLines
        line = self._back.pop() if self._back else next(self._lines)
        self.taken.append(line)
        return line

    def put_back(self, lines: Sequence[str]) -> None:
        """Push lines back, to be read next."""
        self._back.extend(reversed(lines))

    def peek(self, records: int) -> list[str]:
        """Return the next records without consuming them: a record ends at a line where its quotes are balanced."""
        found: list[str] = []
        for _ in range(records):
            if not (record := self._record()):
                break
            found.append(record)
        self.put_back(self.taken)
        self.taken = []
        return found

    def _record(self) -> str:
        record = ""
        for _ in range(_LONGEST):
            record += next(self, "")
            if not record.count('"') % 2:
                break
        return record


class TooManyLines(csv.Error):
    """A record does not end."""

    def __init__(self) -> None:
        """Create the error."""
        super().__init__("a cell that begins with a quote does not end")


def delimiter_of(lines: Lines, name: str, *, said: str | None, is_tab_separated: bool) -> str:
    """Return the delimiter of a file; a first line ``sep=;``, as written by Excel, is consumed.

    Args:
        lines: the lines of the file, at its start.
        name: the file's name.
        said: the delimiter given by the user, if any.
        is_tab_separated: whether the file extension is ``.tsv``.

    Raises:
        CliError: it is ambiguous, or the file has one column that looks like several.
    """
    first = next(iter(lines.peek(1)), "")
    if first.count("\0") * 3 > len(first):
        raise CliError(f"{name} is UTF-16 without a byte-order mark: 'iconv -f UTF-16LE -t UTF-8' converts it")
    if sep := _SEP.fullmatch(first):
        next(lines)
        lines.taken = []
    if said is not None or sep is not None:
        return said or (sep[1] if sep is not None else ",")
    return _recognized(lines, name, "\t" if is_tab_separated else DELIMITERS)


def _recognized(lines: Lines, name: str, candidates: str) -> str:
    header = _header(lines)
    several = [one for one in candidates if _width(header, one) > 1]
    if len(several) == 1:
        return several[0]
    if not several and not any(map(header.__contains__, _SUSPICIOUS)):
        return candidates[0]
    rows = [record for record in lines.peek(1 + _SAMPLE) if record.strip()][1:]
    if not several:
        _require_one(name, header, rows)
        return candidates[0]
    shares = {one: sum(_width(row, one) == _width(header, one) for row in rows) for one in several}
    best = [one for one in several if shares[one] == max(shares.values())]
    if len(best) > 1 and rows:
        raise CliError(
            f"{name} has columns by {' and by '.join(map(_shown, best))}: --delimiter says which it is",
            code=ExitCode.USAGE,
        )
    return best[0]


def _header(lines: Lines) -> str:
    """Return the first non-blank record; peeks at more than one only if needed, since a pipe may block."""
    found = (record for records in (1, _SAMPLE) for record in lines.peek(records) if record.strip())
    return next(found, "")


def _require_one(name: str, header: str, rows: Sequence[str]) -> None:
    for one in _SUSPICIOUS:
        count = header.count(one)
        if count and rows and all(row.count(one) == count for row in rows):
            title = header.strip()
            title = title if len(title) <= _QUOTED else title[:_QUOTED] + "…"
            raise CliError(
                f"{name} has one column, {title!r}, which looks like several, with {_shown(one)} between them: "
                f"--delimiter says what separates them, or --delimiter ',' that it is one",
                code=ExitCode.USAGE,
            )


def _width(record: str, delimiter: str) -> int:
    """Return the number of cells; 1 if an unquoted cell contains a quote, which means that the delimiter is wrong."""
    if delimiter not in record:
        return 1
    try:
        cells = next(csv.reader([record], delimiter=delimiter, strict=True), [""])
    except csv.Error:
        return 1
    if '"' not in record:
        return len(cells)
    return len(cells) if all(is_quoted or '"' not in cell for cell, is_quoted in split(record, delimiter)) else 1


def split(record: str, delimiter: str) -> list[tuple[str, bool]]:
    """Return the cells of a valid record, and whether each is quoted."""
    text = record.rstrip("\r\n") if not record.endswith('"') else record
    cells: list[tuple[str, bool]] = []
    at = 0
    while True:
        if text.startswith('"', at):
            end = at + 1
            while text.startswith('""', end := text.index('"', end)):
                end += 2
            cells.append((text[at + 1 : end].replace('""', '"'), True))
            end += 1
        else:
            end = text.find(delimiter, at)
            end = len(text) if end < 0 else end
            cells.append((text[at:end], False))
        if end >= len(text):
            return cells
        at = end + 1


def _shown(delimiter: str) -> str:
    return {"\t": "tab", "\x01": "U+0001", "\x1f": "U+001F"}.get(delimiter, repr(delimiter))
