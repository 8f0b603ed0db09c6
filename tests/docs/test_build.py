"""The documentation as HTML, built as ``make docs`` builds it."""

import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs_page import ROOT
from openapi_document import openapi

#: What ``make docs`` runs.
(COMMAND,) = re.findall(r"^\t@\$\(BIN\)/(sphinx-build .+) dist/docs$", (ROOT / "Makefile").read_text(), re.MULTILINE)
#: In a style sheet: something that is loaded, other than what stands in it or beside it.
LOADED = re.compile(r"(?:url\(|@import)\s*['\"]?\s*(?:\w+:)?//[^)'\"]*")
#: By element: the attributes from which something is loaded.
LOADS = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "srcset", "object": "data"}


class Html(HTMLParser):
    """What of a page matters here."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = {name: value or "" for name, value in attrs}
        self.ids.add(held.get("id", ""))
        if tag == "a":
            self.links.append(held.get("href", ""))
        if held.get(LOADS.get(tag, "")):
            self.loads.append(held[LOADS[tag]])


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The built documentation."""
    folder = tmp_path_factory.mktemp("built")
    command = shlex.split(COMMAND.replace("dist/doctrees", str(folder / "doctrees")))
    program = Path(sys.executable).with_name(command[0])
    ran = subprocess.run(
        [program, *command[1:], folder / "html"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    return folder / "html"


@pytest.fixture(scope="module")
def pages(built) -> dict[str, Html]:
    """Its pages, by path."""
    return {file.relative_to(built).as_posix(): Html(file) for file in built.rglob("*.html")}


def test_every_page_is_in_a_menu(pages):
    menu = {link.partition("#")[0] for link in pages["search.html"].links}
    assert set(pages) - menu - {"search.html"} == set()


def test_every_operation_has_an_anchor(pages):
    paths = openapi()["paths"].values()
    anchors = {operation["operationId"].replace("_", "-") for methods in paths for operation in methods.values()}
    assert anchors - pages["reference/http-api.html"].ids == set()


def test_links_within_lead_to_what_is_there(built, pages):
    missing = [
        (path, link)
        for path, page in pages.items()
        for link in page.links
        if not re.match(r"\w+:|$", link) and not _is_there(built, pages, path, link)
    ]
    assert missing == []


def _is_there(built: Path, pages: dict[str, Html], path: str, link: str) -> bool:
    name, _, anchor = link.partition("#")
    file = (built / path).parent / name if name else built / path
    if not file.exists():
        return False
    return anchor == "" or anchor in pages[file.resolve().relative_to(built.resolve()).as_posix()].ids


def test_nothing_is_loaded_from_another_host(built, pages):
    loaded = [load for page in pages.values() for load in page.loads if re.match(r"(\w+:)?//", load)]
    styles = [found for file in built.rglob("*.css") for found in LOADED.findall(file.read_text())]
    assert loaded + styles == []
