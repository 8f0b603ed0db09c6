"""The README's tour and examples, run as they stand against a Headwater that is really served."""

import re
from collections.abc import Iterator

import httpx
import pytest

import docs_tour
from docs_page import Page
from docs_tour import Tour
from openapi_document import openapi

README = Page.of("README.md")


@pytest.fixture(scope="module")
def tour(tmp_path_factory) -> Iterator[Tour]:
    with docs_tour.serving(tmp_path_factory.mktemp("served")) as served:
        yield docs_tour.take(README, served, tmp_path_factory.mktemp("tour"), is_prepared=False)


def test_the_tour_is_answered_with_the_statuses_that_it_promises(tour):
    docs_tour.check_statuses(tour)


def test_the_tour_shows_what_the_readme_shows(tour):
    docs_tour.check_outputs(tour)


def test_each_way_to_write_fills_the_stream(tour):
    key = {"Authorization": f"Bearer {tour.variables['HEADWATER_KEY']}"}
    tasks = httpx.get(f"{tour.variables['HEADWATER_URL']}/tasks?limit=3", headers=key).json()["payload"]
    assert [(task["code"], task["docs"]) for task in tasks] == [(200, 1), (200, 3000), (200, 3000)]


def test_the_table_of_calls_has_every_code_that_the_api_declares():
    calls = {
        "create": ("/actions/crawlers/{fid}/task", "post"),
        "retry": ("/actions/crawlers/{fid}/task/{task_fid}", "post"),
        "delete": ("/actions/tasks/{fid}", "delete"),
        "upload": ("/actions/tasks/{task_id}/upload", "post"),
        "status": ("/actions/tasks/{task_id}/status", "post"),
    }
    paths = openapi()["paths"]
    declared = {call: set(paths[path][method]["responses"]) - {"500"} for call, (path, method) in calls.items()}
    assert {call: codes - _tabled(call) for call, codes in declared.items()} == {call: set() for call in calls}


def _tabled(call: str) -> set[str]:
    (row,) = [line for line in README.text.splitlines() if line.startswith(f"| {call} |")]
    *_, done, refused, _ = row.split("|")
    return set(re.findall(r"\b\d{3}\b", done + refused))
