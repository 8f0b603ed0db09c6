"""The pages of docs/how-to, run as they stand, and that readers find every page and drawing."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest

import docs_tour
from docs_tour import ROOT, Page, Tour

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
DRAWINGS = sorted(DOCS.rglob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"
#: In an attribute or a style sheet: something that is loaded, other than a part of the drawing itself.
LOADS = re.compile(r"(?:url\(\s*|@import\s*)['\"]?(?!#)|javascript:|\w+://")


@pytest.fixture(scope="module", params=sorted((DOCS / "how-to").glob("*.md")), ids=lambda file: file.stem)
def tour(request, tmp_path_factory) -> Iterator[Tour]:
    with docs_tour.serving(tmp_path_factory.mktemp("served")) as served:
        page = Page.of(str(request.param.relative_to(ROOT)))
        yield docs_tour.take(page, served, tmp_path_factory.mktemp("tour"))


def test_a_how_to_is_answered_with_the_statuses_that_it_promises(tour):
    docs_tour.check_statuses(tour)


def test_a_how_to_shows_what_it_puts_out(tour):
    docs_tour.check_outputs(tour)


def _targets(file: Path) -> set[Path]:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", file.read_text())
    return {(file.parent / unquote(link)).resolve() for link in links}


@pytest.mark.parametrize("file", [*PAGES, *DRAWINGS], ids=lambda file: file.name)
def test_a_page_or_drawing_is_linked_from_another_page(file):
    others = [other for other in (*ROOT.glob("*.md"), *PAGES) if other != file]
    assert [other.name for other in others if file in _targets(other)] != []


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_within_the_documentation_lead_to_headings_that_are_there(file):
    links = re.findall(r"\]\((?!https?://)([^)#\s]*)#([^)\s]+)\)", file.read_text())
    missing = [(target, anchor) for target, anchor in links if anchor not in _anchors(file, target)]
    assert missing == []


def _anchors(file: Path, target: str) -> set[str]:
    text = (file.parent / target if target else file).read_text()
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
