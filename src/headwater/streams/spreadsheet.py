"""Documents as an Excel workbook (ISO/IEC 29500), streamed while it is written.

Texts are written as inline strings, which no spreadsheet interprets as formulas.
"""

import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any, cast
from xml.sax.saxutils import escape

import pyarrow as pa

from headwater.lake.shapes import Kind, Shape, as_json, moment_of, number_of
from headwater.lake.tables import Fields, slices
from headwater.streams.sink import Sink

#: Excel's limits: rows of a sheet, and characters of a cell.
MOST_ROWS = 1 << 20
LONGEST_CELL = 32_767
#: Excel keeps 15 digits of a number; longer integers are written as texts.
_GREATEST = 10**15

# The day of number 0. Excel treats 1900 as a leap year, so that the days before March 1900 are off by one.
_EPOCH = date(1899, 12, 30)
_FIRST = date(1900, 3, 1)
_DAY = 86_400

_NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_BEGIN = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

#: Styles of cells, by their index in ``_STYLES``.
_HEADER, _DATE, _MOMENT = 1, 2, 3
_STYLES = (
    f'{_BEGIN}<styleSheet xmlns="{_NAMESPACE}">'
    '<numFmts count="2"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/>'
    '<numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/></numFmts>'
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="4"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)
_SHEET_BEGIN = (
    f'{_BEGIN}<worksheet xmlns="{_NAMESPACE}"><sheetViews><sheetView workbookViewId="0">'
    '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><sheetData>'
)
_SHEET_END = "</sheetData></worksheet>"

# Characters that XML 1.0 does not allow are written _xHHHH_, and so is the underscore of a text that looks like that.
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")

#: Writes a value, which is not null, as a cell at a reference.
_Cell = Callable[[str, Any], str]


class SpreadsheetWriter:
    """Writes a workbook that is streamed while it grows; rows over Excel's limit go to further sheets."""

    names_skipped = False

    def __init__(self, fields: Fields, *, most_rows: int = MOST_ROWS) -> None:
        """Write a column for each field."""
        self._sink = Sink()
        self._file = zipfile.ZipFile(cast("Any", self._sink), "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._columns = [
            (_letters(place), name, _cell_of(shape)) for place, (name, shape) in enumerate(fields.shapes.items())
        ]
        self._most_rows = most_rows
        self._sheets = 0
        self._row = 0
        self._begin_sheet()

    def add(self, batch: pa.RecordBatch) -> bytes:
        """Add the next documents, ``doc``; return the finished part of the file."""
        for _, documents in slices(batch, len(self._columns)):
            for document in documents:
                if self._row == self._most_rows:
                    self._end_sheet()
                    self._begin_sheet()
                row = self._row + 1
                self._write_row(
                    cell(f"{letters}{row}", value)
                    for letters, name, cell in self._columns
                    if (value := document.get(name)) is not None
                )
        return self._sink.take()

    def finish(self, skipped: Sequence[dict[str, str | None]] = ()) -> bytes:  # noqa: ARG002 - a sheet has no place for it
        """Return the rest of the file."""
        self._end_sheet()
        numbers = range(1, self._sheets + 1)
        sheets = "".join(f'<sheet name="Documents{_suffix(n)}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
        self._file.writestr(
            "xl/workbook.xml",
            f'{_BEGIN}<workbook xmlns="{_NAMESPACE}" xmlns:r="{_OFFICE}"><sheets>{sheets}</sheets></workbook>',
        )
        relations = "".join(_relation(n, "worksheet", f"worksheets/sheet{n}.xml") for n in numbers)
        relations += _relation(self._sheets + 1, "styles", "styles.xml")
        self._file.writestr("xl/_rels/workbook.xml.rels", _relations(relations))
        self._file.writestr("_rels/.rels", _relations(_relation(1, "officeDocument", "xl/workbook.xml")))
        self._file.writestr("xl/styles.xml", _STYLES)
        parts = "".join(_part(f"/xl/worksheets/sheet{n}.xml", "worksheet") for n in numbers)
        self._file.writestr(
            "[Content_Types].xml",
            f'{_BEGIN}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f"{_part('/xl/workbook.xml', 'sheet.main')}{_part('/xl/styles.xml', 'styles')}{parts}</Types>",
        )
        self._file.close()
        return self._sink.take()

    def _begin_sheet(self) -> None:
        self._sheets += 1
        self._row = 0
        # The size is not known beforehand, and 4 GiB of XML are possible.
        self._sheet = self._file.open(f"xl/worksheets/sheet{self._sheets}.xml", "w", force_zip64=True)
        self._sheet.write(_SHEET_BEGIN.encode())
        self._write_row(_text(f"{letters}1", name, _HEADER) for letters, name, _ in self._columns)

    def _end_sheet(self) -> None:
        self._sheet.write(_SHEET_END.encode())
        self._sheet.close()

    def _write_row(self, cells: Iterable[str]) -> None:
        self._row += 1
        self._sheet.write(f'<row r="{self._row}">{"".join(cells)}</row>'.encode())


def _cell_of(shape: Shape) -> _Cell:
    """Return the writer for values of a shape."""
    return _CELLS.get(shape.kind, _any)


def _any(reference: str, value: Any) -> str:
    """Write a value of a column of mixed types by its own type, nested values as JSON."""
    match value:
        case bool():
            return _boolean(reference, value)
        case int() | float():
            return _number(reference, value)
        case str():
            return _text(reference, value)
        case _:
            return _text(reference, as_json(value))


def _text(reference: str, text: str, style: int = 0) -> str:
    if len(text) > LONGEST_CELL:
        text = text[: LONGEST_CELL - 1] + "…"
    written = escape(_UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", text))
    return f'<c r="{reference}" s="{style}" t="inlineStr"><is><t xml:space="preserve">{written}</t></is></c>'


def _number(reference: str, value: float) -> str:
    number = value if isinstance(value, int) else number_of(value)
    if (isinstance(number, int) and abs(number) >= _GREATEST) or not isfinite(number):
        return _text(reference, as_json(value))
    return f'<c r="{reference}"><v>{number!r}</v></c>'


def _boolean(reference: str, value: bool) -> str:
    return f'<c r="{reference}" t="b"><v>{value:d}</v></c>'


def _date(reference: str, text: str) -> str:
    day = date.fromisoformat(text)
    if day < _FIRST:
        return _text(reference, text)
    return f'<c r="{reference}" s="{_DATE}"><v>{(day - _EPOCH).days}</v></c>'


def _moment(reference: str, text: str) -> str:
    moment = moment_of(text).replace(tzinfo=UTC)
    if moment.date() < _FIRST:
        return _text(reference, text)
    days = (moment - datetime(_EPOCH.year, _EPOCH.month, _EPOCH.day, tzinfo=UTC)).total_seconds() / _DAY
    return f'<c r="{reference}" s="{_MOMENT}"><v>{days!r}</v></c>'


_CELLS: dict[Kind, _Cell] = {
    Kind.INTEGER: _number,
    Kind.NUMBER: _number,
    Kind.BOOLEAN: _boolean,
    Kind.TEXT: _text,
    Kind.DATE: _date,
    Kind.MOMENT: _moment,
    Kind.LOCAL: _moment,
}


def _letters(place: int) -> str:
    """Return Excel's name of a column: A to Z, AA, AB."""
    found = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        found = chr(ord("A") + letter) + found
    return found


def _suffix(number: int) -> str:
    return f" {number}" if number > 1 else ""


def _relation(number: int, kind: str, target: str) -> str:
    return f'<Relationship Id="rId{number}" Type="{_OFFICE}/{kind}" Target="{target}"/>'


def _relations(relations: str) -> str:
    return f'{_BEGIN}<Relationships xmlns="{_RELATIONS}">{relations}</Relationships>'


def _part(name: str, kind: str) -> str:
    return f'<Override PartName="{name}" ContentType="{_TYPE}.{kind}+xml"/>'
