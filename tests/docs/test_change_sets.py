"""docs/explanation/change-sets.md: its table of what happens to a stream, done step by step."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

import docs_tour
from docs_page import Page

PAGE = Page.of("docs/explanation/change-sets.md", section="What happens to rows and files").text
_, _, *NAMES = re.findall(r"^\| what happens \|(.+)\|$", PAGE, re.MULTILINE)[0].split("|")
IDS = [name.strip() for name in NAMES]
ROW = re.compile(r"^\| ([^|]+) \| (\d+) \| [^|]+ \|(.+)\|$", re.MULTILINE)
#: What each step shows, by what happens in it: ``(version, prices by id)``.
STEPS = {
    what: (
        int(version),
        {doc_id: int(cell) for doc_id, cell in zip(IDS, cells.split("|"), strict=True) if cell.strip()},
    )
    for what, version, cells in ROW.findall(PAGE)
}
RUN = re.compile(r"run (\d)")


class Story:
    """The runs of the table, done against a Headwater that is really served."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.stream = self._post("/streams", {})["fid"]
        external = self._post("/externals", {"docIdField": "id"})["fid"]
        links = [{"from": {"type": "streams", "fid": self.stream}}]
        self._crawler = self._post(f"/actions/externals/{external}/crawler", {"meta": {"links": links}})["fid"]
        self._runs: dict[str, str] = {}

    def do(self, what: str, prices: dict[str, int]) -> None:
        """Do what a row of the table says; ``prices`` are those that show afterwards."""
        run = RUN.findall(what)[0]
        if "is deleted" in what:
            self._client.delete(f"/actions/tasks/{self._runs[run]}").raise_for_status()
        elif "is restored" in what:
            self._post(f"/actions/tasks/{self._runs[run]}/restore", {})
        elif "uploads" in what:
            self._upload(run, {doc_id: prices[doc_id] for doc_id in IDS if doc_id in what})
        if "ends with 200" in what or ("uploads" in what and "retried" not in what):
            self._post(f"/actions/tasks/{self._runs[run]}/status", {"code": 200})

    def shown(self, **view: int) -> dict[str, int]:
        found = self._client.get(f"/streams/{self.stream}/docs", params=view).raise_for_status()
        return {one["id"]: one["doc"]["price"] for one in found.json()["payload"]}

    def version(self) -> int:
        return self._client.get(f"/streams/{self.stream}").json()["payload"]["stream_version"]

    def _upload(self, run: str, prices: dict[str, int]) -> None:
        again = f"/{self._runs[run]}" if run in self._runs else ""
        self._runs[run] = self._post(f"/actions/crawlers/{self._crawler}/task{again}", {})["fid"]
        lines = "".join(json.dumps({"id": doc_id, "price": price}) + "\n" for doc_id, price in prices.items())
        self._client.post(f"/actions/tasks/{self._runs[run]}/upload", content=lines).raise_for_status()

    def _post(self, path: str, body: dict) -> dict:
        return self._client.post(path, json=body).raise_for_status().json()["payload"]


@pytest.fixture
def story(tmp_path) -> Iterator[Story]:
    with docs_tour.serving(tmp_path) as served:
        key = (served.data / "admin.key").read_text().strip()
        with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
            yield Story(client)


def test_each_step_shows_what_the_table_says_then_and_ever_after(story):
    for what, (version, prices) in STEPS.items():
        story.do(what, prices)
        assert (what, story.version(), story.shown()) == (what, version, prices)
    assert {what: (version, story.shown(as_of=version)) for what, (version, _) in STEPS.items()} == STEPS
