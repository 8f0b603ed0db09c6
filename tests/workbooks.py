"""Workbooks of Excel, read as its specification says and by nothing of ours."""

import io
import re
import zipfile
from xml.etree import ElementTree as ET

_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_OFFICE = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_PACKAGE = "{http://schemas.openxmlformats.org/package/2006/relationships}"


def sheets_of(file):
    """The rows of each sheet in the order of the workbook, numbers as they are written."""
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert archive.testzip() is None
        root = _part(archive, "_rels/.rels").find(f"{_PACKAGE}Relationship").get("Target")
        targets = {
            relation.get("Id"): relation.get("Target")
            for relation in _part(archive, "xl/_rels/workbook.xml.rels").iter(f"{_PACKAGE}Relationship")
        }
        typed = {part.get("PartName") for part in _part(archive, "[Content_Types].xml") if part.get("PartName")}
        paths = [f"xl/{targets[sheet.get(_OFFICE + 'id')]}" for sheet in _part(archive, root).iter(f"{_SHEET}sheet")]
        assert typed == {f"/{path}" for path in (*paths, root, "xl/styles.xml")}
        return [[*_rows(_part(archive, path))] for path in paths]


def _part(archive, name):
    return ET.fromstring(archive.read(name))  # noqa: S314 - we wrote it


def _rows(sheet):
    rows = [*sheet.iter(f"{_SHEET}row")]
    width = len(rows[0])
    for number, row in enumerate(rows, 1):
        assert row.get("r") == str(number)
        cells = {_place(cell.get("r"), number): _value(cell) for cell in row}
        yield [cells.get(place) for place in range(width)]


def _place(reference, row):
    letters, number = re.fullmatch(r"([A-Z]+)(\d+)", reference).groups()
    assert int(number) == row
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - ord("A") + 1
    return place - 1


def _value(cell):
    assert cell.find(f"{_SHEET}f") is None
    match cell.get("t"):
        case "inlineStr":
            text = cell.find(f"{_SHEET}is/{_SHEET}t").text or ""
            return re.sub("_x([0-9A-F]{4})_", lambda found: chr(int(found[1], 16)), text)
        case "b":
            return cell.find(f"{_SHEET}v").text == "1"
        case None:
            text = cell.find(f"{_SHEET}v").text
            number = float(text) if re.search("[.e]", text) else int(text)
            style = int(cell.get("s") or 0)
            return (number, style) if style else number
