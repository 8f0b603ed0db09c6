"""The README's tour and examples, run as they stand against a Headwater that is really served."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from headwater.app import create_app
from headwater.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: Put between the outputs of the tour's blocks.
SEPARATOR = "\x1e"
#: What differs from run to run, and what stands for it in a comparison.
PASSING = {
    r"\b[0-9a-f]{32}\b": "FID",
    r"(?<=FID\.)[\w-]{43}": "TOKEN",
    r"127\.0\.0\.1:\d+": "HOST",
}
NODE = shutil.which("node")


@dataclass(frozen=True, kw_only=True)
class Served:
    url: str
    data: Path
    log: Path

    def statuses(self, *, of: int) -> list[int]:
        """The statuses that were answered, at least ``of`` of them unless they do not come."""
        until = time.monotonic() + 5
        while True:
            lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
            found = [line["status"] for line in lines if line["event"] == "http.answered" and line["path"] != "/readyz"]
            if len(found) >= of or time.monotonic() > until:
                return found
            time.sleep(0.05)  # an answer is logged just after it was sent


@dataclass(frozen=True, kw_only=True)
class Tour:
    errors: str
    outputs: list[str]
    statuses: list[int]
    #: What the README's examples want in their environment.
    variables: dict[str, str]

    def task(self) -> dict:
        answer = httpx.get(
            f"{self.variables['HW']}/tasks?limit=1", headers={"Authorization": f"Bearer {self.variables['KEY']}"}
        )
        return answer.json()["payload"][0]


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Served(url=f"http://127.0.0.1:{port}", data=folder / "data", log=folder / "log")
    command = [Path(sys.executable).with_name("headwater"), "serve", "--data", server.data, "--port", str(port)]
    with (
        server.log.open("w") as log,
        subprocess.Popen(command, cwd=folder, env=_environment(), stdout=subprocess.DEVNULL, stderr=log) as process,
    ):
        try:
            _wait_for(server, process)
            yield server
        finally:
            process.terminate()


def _wait_for(server: Served, process: subprocess.Popen) -> None:
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(f"{server.url}/readyz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"Headwater did not start:\n{server.log.read_text()}")


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | more


@pytest.fixture(scope="module")
def tour(served, tmp_path_factory) -> Tour:
    missing = [tool for tool in ("bash", "curl", "gzip") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the tour needs {', '.join(missing)}")
    commands = [command for command, _ in _steps()]
    ending = f'printf \'\\036%s %s\' "$KEY" "$CRAWLER"\n# {len(commands)} blocks'
    script = "set -u\n" + "printf '\\036'\n".join([*commands, ending])
    folder = tmp_path_factory.mktemp("tour")
    ran = subprocess.run(
        [shutil.which("bash"), "-c", script],
        cwd=ROOT,
        env=_environment(HW=served.url, DATA=str(served.data), TMPDIR=str(folder)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    *outputs, _, last = ran.stdout.split(SEPARATOR)
    key, crawler = last.split()
    return Tour(
        errors=ran.stderr,
        outputs=outputs,
        statuses=served.statuses(of=len(_promised())),
        variables={"HW": served.url, "KEY": key, "CRAWLER": crawler},
    )


def _steps() -> list[tuple[str, str]]:
    """The tour's commands, block by block, each with the output that is shown behind it."""
    section = README.partition("## A tour in five minutes")[2].partition("\n## ")[0]
    blocks = BLOCK.findall(section)
    assert {language for language, _ in blocks} == {"bash", "text"}
    steps: list[tuple[str, str]] = []
    for language, text in blocks:
        if language == "bash":
            steps.append((text, ""))
        else:
            steps[-1] = (steps[-1][0], text)
    return steps


def _promised() -> list[int]:
    """The statuses that the tour's comments promise, in order."""
    return [int(code) for command, _ in _steps() for code in re.findall(r"# (\d{3})$", command, re.MULTILINE)]


def _lasting(text: str) -> str:
    for passing, name in PASSING.items():
        text = re.sub(passing, name, text)
    return text


def _example(language: str) -> str:
    (example,) = [text for found, text in BLOCK.findall(README) if found == language]
    return example


def test_the_tour_is_answered_with_the_statuses_that_it_promises(tour):
    assert tour.errors == ""
    assert tour.statuses[: len(_promised())] == _promised()


def test_the_tour_shows_what_the_readme_shows(tour):
    shown = [output for _, output in _steps()]
    assert [_lasting(output) for output in tour.outputs] == [_lasting(output) for output in shown]


def test_the_python_example_fills_the_stream(tour, tmp_path):
    file = tmp_path / "crawler.py"
    file.write_text(_example("python"))
    subprocess.run([sys.executable, file], env=_environment(**tour.variables), check=True, timeout=60)
    task = tour.task()
    assert (task["code"], task["docs"], task["uploads"]) == (200, 3000, 3)


@pytest.mark.skipif(NODE is None, reason="there is no node")
def test_the_javascript_example_fills_the_stream(tour, tmp_path):
    file = tmp_path / "crawler.mjs"
    file.write_text(_example("js"))
    subprocess.run([NODE, file], env=_environment(**tour.variables), check=True, timeout=60)
    task = tour.task()
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
    (row,) = [line for line in README.splitlines() if line.startswith(f"| {call} |")]
    *_, done, refused, _ = row.split("|")
    return set(re.findall(r"\b\d{3}\b", done + refused))


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda f: f.name
)
def test_links_lead_to_files_that_are_there(file):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", file.read_text())
    assert [target for target in targets if not (file.parent / target).exists()] == []
