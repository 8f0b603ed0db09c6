"""The clients' own pages, run as they stand."""

import httpx
import pytest

import docs_tour
from docs_page import ROOT, Page

#: A crawler, set up as on the page of the five calls.
BEGINNING = Page.of("docs/reference/task.md", section="Setup").text.partition("**Python**")[0]


@pytest.mark.parametrize("client", ["python", "js"])
def test_a_clients_page_can_be_followed(client, tmp_path):
    text = (ROOT / "clients" / client / "README.md").read_text()
    page = Page(text=BEGINNING + text)
    assert page.untold() == []
    with docs_tour.serving(tmp_path) as served:
        (tmp_path / "tour").mkdir()
        tour = docs_tour.take(page, served, tmp_path / "tour")
        key = {"Authorization": f"Bearer {tour.variables['HEADWATER_KEY']}"}
        tasks = httpx.get(f"{served.url}/tasks", headers=key).json()["payload"]
    assert tour.errors == ""
    docs_tour.check_outputs(tour)
    assert {task["code"] for task in tasks} == {200}
