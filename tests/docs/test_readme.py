"""The README's tour and examples, run as they stand against a Headwater that is really served."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

import docs_tour
from docs_tour import ROOT, Page, Tour
from headwater.app import create_app
from headwater.settings import Settings

README = Page.of("README.md")
NODE = shutil.which("node")


@pytest.fixture(scope="module")
def tour(tmp_path_factory) -> Iterator[Tour]:
    page = Page.of("README.md", section="A tour in five minutes")
    with docs_tour.serving(tmp_path_factory.mktemp("served")) as served:
        yield docs_tour.take(page, served, tmp_path_factory.mktemp("tour"))


def _latest_task(tour: Tour) -> dict:
    key = {"Authorization": f"Bearer {tour.variables['KEY']}"}
    return httpx.get(f"{tour.variables['HW']}/tasks?limit=1", headers=key).json()["payload"][0]


def test_the_tour_is_answered_with_the_statuses_that_it_promises(tour):
    docs_tour.check_statuses(tour)


def test_the_tour_shows_what_the_readme_shows(tour):
    docs_tour.check_outputs(tour)


def test_the_python_example_fills_the_stream(tour, tmp_path):
    file = tmp_path / "crawler.py"
    file.write_text(README.example("python"))
    subprocess.run([sys.executable, file], env=docs_tour.environment(**tour.variables), check=True, timeout=60)
    task = _latest_task(tour)
    assert (task["code"], task["docs"], task["uploads"]) == (200, 3000, 3)


@pytest.mark.skipif(NODE is None, reason="there is no node")
def test_the_javascript_example_fills_the_stream(tour, tmp_path):
    file = tmp_path / "crawler.mjs"
    file.write_text(README.example("js"))
    subprocess.run([NODE, file], env=docs_tour.environment(**tour.variables), check=True, timeout=60)
    task = _latest_task(tour)
    assert (task["code"], task["docs"], task["uploads"]) == (200, 3000, 3)


def test_the_table_of_calls_has_every_code_that_the_api_declares():
    calls = {
        "create": ("/actions/crawlers/{fid}/task", "post"),
        "retry": ("/actions/crawlers/{fid}/task/{task_fid}", "post"),
        "delete": ("/actions/tasks/{fid}", "delete"),
        "upload": ("/actions/tasks/{task_id}/upload", "post"),
        "status": ("/actions/tasks/{task_id}/status", "post"),
    }
    paths = create_app(Settings()).openapi()["paths"]
    declared = {call: set(paths[path][method]["responses"]) - {"500"} for call, (path, method) in calls.items()}
    assert {call: codes - _tabled(call) for call, codes in declared.items()} == {call: set() for call in calls}


def _tabled(call: str) -> set[str]:
    (row,) = [line for line in README.text.splitlines() if line.startswith(f"| {call} |")]
    *_, done, refused, _ = row.split("|")
    return set(re.findall(r"\b\d{3}\b", done + refused))


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda f: f.name
)
def test_links_lead_to_files_that_are_there(file):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", file.read_text())
    assert [target for target in targets if not (file.parent / target).exists()] == []
