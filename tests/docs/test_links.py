"""That readers find every page and drawing, and what a link promises."""

import functools
import re
from collections import defaultdict
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest

from docs.extensions.operations import PLACE, Operations
from docs_page import ROOT
from openapi_document import openapi

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
DRAWINGS = sorted(DOCS.rglob("*.svg"))
#: Those that pages show; the others are in every page's frame.
SHOWN = [file for file in DRAWINGS if "_static" not in file.parts]
SVG = "{http://www.w3.org/2000/svg}"
#: In an attribute or a style sheet: something that is loaded, other than a part of the drawing itself.
LOADS = re.compile(r"(?:url\(\s*|@import\s*)['\"]?(?!#)|javascript:|\w+://")


def _targets(file: Path) -> set[Path]:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", file.read_text())
    return {(file.parent / unquote(link)).resolve() for link in links}


@pytest.mark.parametrize("file", [*PAGES, *SHOWN], ids=lambda file: file.name)
def test_a_page_or_drawing_is_linked_from_another_page(file):
    others = [other for other in (*ROOT.glob("*.md"), *PAGES) if other != file]
    assert [other.name for other in others if file in _targets(other)] != []


@pytest.mark.parametrize("file", [*sorted(ROOT.glob("*.md")), *PAGES], ids=lambda f: f.name)
def test_links_lead_to_files_that_are_there(file):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", file.read_text())
    assert [target for target in targets if not (file.parent / target).exists()] == []


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_within_the_documentation_lead_to_headings_that_are_there(file):
    links = re.findall(r"\]\((?!https?://)([^)#\s]*)#([^)\s]+)\)", file.read_text())
    missing = [(target, anchor) for target, anchor in links if anchor not in _anchors(file, target)]
    assert missing == []


def _anchors(file: Path, target: str) -> set[str]:
    return _headings((file.parent / target if target else file).resolve())


@functools.cache
def _headings(page: Path) -> set[str]:
    text = page.read_text()
    if PLACE in text:
        text += Operations(openapi(), errors=defaultdict(str)).markdown()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", DRAWINGS, ids=lambda file: file.name)
def test_a_drawing_is_an_svg_that_is_told_in_words_and_sizes_itself(file):
    drawing = ET.parse(file).getroot()  # noqa: S314 - our own file
    assert drawing.tag == f"{SVG}svg"
    assert re.fullmatch(r"0 0 \d+ \d+", drawing.get("viewBox", ""))
    told_by = drawing.get("aria-labelledby", "").split()
    told = {part.get("id"): part.text for part in drawing if part.tag in {f"{SVG}title", f"{SVG}desc"}}
    assert all(told.values())
    assert sorted(told) == sorted(told_by)


@pytest.mark.parametrize("file", DRAWINGS, ids=lambda file: file.name)
def test_a_drawing_runs_nothing_and_loads_nothing(file):
    parts = list(ET.parse(file).iter())  # noqa: S314 - our own file
    assert [part.tag for part in parts if part.tag in {f"{SVG}script", f"{SVG}foreignObject", f"{SVG}image"}] == []
    attributes = [(name, value) for part in parts for name, value in part.items()]
    assert [name for name, _ in attributes if name.startswith("on")] == []
    assert [value for name, value in attributes if name.endswith("href") and not value.startswith("#")] == []
    texts = [*(value for _, value in attributes), *(part.text or "" for part in parts)]
    assert [text for text in texts if LOADS.search(text)] == []
