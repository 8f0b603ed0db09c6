"""The JavaScript of docs/how-to/crawlee.md, run with Crawlee as npm installs it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import docs_tour
from docs_page import Page

#: Versions, and no addresses: whoever has a registry of their own is asked there.
LOCK = Path(__file__).parent / "crawlee"
_MARK = re.compile(r"<!-- not run: tests/docs/test_crawlee\.py .*-->\n")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder below one where Node finds Crawlee."""
    shutil.copytree(LOCK, tmp_path, dirs_exist_ok=True)
    command = ["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund"]
    environment = docs_tour.environment()
    installed = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert installed.returncode == 0, installed.stderr[-500:]
    (tmp_path / "tour").mkdir()
    return tmp_path / "tour"


def test_the_page_is_as_it_says_in_javascript_too(folder, tmp_path_factory):
    text = Page.of("docs/how-to/crawlee.md").text
    page = Page(text=_MARK.sub("", text))
    assert len(page.outputs()) == 3
    with docs_tour.serving(tmp_path_factory.mktemp("served")) as served:
        tour = docs_tour.take(page, served, folder)
    docs_tour.check_statuses(tour)
    docs_tour.check_outputs(tour)
