"""Pages of the documentation, run as they stand against a Headwater that is really served."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[1]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: Behind a command: the statuses that it is answered with; ``, until …`` where it is sent again and again.
_PROMISE = re.compile(r"# (\d{3}(?: \d{3})*)(, until [^\n]+)?$", re.MULTILINE)
#: Put between the outputs of a tour's blocks.
_SEPARATOR = "\x1e"
#: What differs from run to run, and what stands for it in a comparison.
_PASSING = {
    r"\b[0-9a-f]{32}\b": "FID",
    r"(?<=FID\.)[\w-]{43}": "TOKEN",
    r"127\.0\.0\.1:\d+": "HOST",
    r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z": "MOMENT",
}


@dataclass(frozen=True, kw_only=True)
class Page:
    """What of a page is run: its bash blocks, each with the output that a text block behind it shows."""

    text: str

    @classmethod
    def of(cls, path: str, *, section: str | None = None) -> "Page":
        """Return a page, or that section of it whose heading is given."""
        text = (ROOT / path).read_text()
        return cls(text=text if section is None else text.partition(f"\n## {section}\n")[2].partition("\n## ")[0])

    def steps(self) -> list[tuple[str, str]]:
        """Return the commands, block by block, each with the output that is shown behind it."""
        steps: list[tuple[str, str]] = []
        for language, text in _BLOCK.findall(self.text):
            if language == "bash":
                steps.append((text, ""))
            elif language == "text":
                steps[-1] = (steps[-1][0], text)
        return steps

    def outputs(self) -> list[str]:
        """Return what the page says that its blocks put out."""
        return [output for _, output in self.steps()]

    def promised(self) -> re.Pattern[str]:
        """Return what matches the statuses that the comments promise, in order, a blank behind each."""
        found = [promise for command, _ in self.steps() for promise in _PROMISE.findall(command)]
        return re.compile("".join(f"(?:{codes} ){'+' if until else ''}" for codes, until in found))

    def example(self, language: str) -> str:
        """Return the only block of a language."""
        (example,) = [text for found, text in _BLOCK.findall(self.text) if found == language]
        return example


@dataclass(frozen=True, kw_only=True)
class Served:
    """A Headwater that is served."""

    url: str
    data: Path
    log: Path

    def statuses(self, *, until: re.Pattern[str]) -> str:
        """Return the statuses that were answered, a blank behind each, once they match or do not come to."""
        patience = time.monotonic() + 5
        while True:
            lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
            answered = [line for line in lines if line["event"] == "http.answered" and line["path"] != "/readyz"]
            found = "".join(f"{line['status']} " for line in answered)
            if until.fullmatch(found) or time.monotonic() > patience:
                return found
            time.sleep(0.05)  # an answer is logged just after it was sent


@dataclass(frozen=True, kw_only=True)
class Tour:
    """What came of running a page."""

    page: Page
    errors: str
    outputs: list[str]
    #: Those that were answered, a blank behind each.
    statuses: str
    #: What the page's examples want in their environment.
    variables: dict[str, str]


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Serve a new Headwater, its data in a folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Served(url=f"http://127.0.0.1:{port}", data=folder / "data", log=folder / "log")
    command = [Path(sys.executable).with_name("headwater"), "serve", "--data", server.data, "--port", str(port)]
    with (
        server.log.open("w") as log,
        subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=log) as process,
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


def environment(**more: str) -> dict[str, str]:
    """Return the variables that a program is run with: none that set Headwater up."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | more


def take(page: Page, served: Served, folder: Path) -> Tour:
    """Run a page in bash against a Headwater that nobody has asked anything yet."""
    missing = [tool for tool in ("bash", "curl", "gzip") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the tour needs {', '.join(missing)}")
    commands = [command for command, _ in page.steps()]
    ending = 'printf \'\\036%s %s\' "$KEY" "$CRAWLER"\n'
    script = "set -u\n" + "printf '\\036'\n".join([*commands, ending])
    ran = subprocess.run(
        [shutil.which("bash"), "-c", script],
        cwd=ROOT,
        env=environment(HW=served.url, DATA=str(served.data), TMPDIR=str(folder)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    *outputs, _, last = ran.stdout.split(_SEPARATOR)
    key, crawler = last.split()
    return Tour(
        page=page,
        errors=ran.stderr,
        outputs=outputs,
        statuses=served.statuses(until=page.promised()),
        variables={"HW": served.url, "KEY": key, "CRAWLER": crawler},
    )


def lasting(text: str) -> str:
    """Return a text with names for what differs from run to run."""
    for passing, name in _PASSING.items():
        text = re.sub(passing, name, text)
    return text


def check_statuses(tour: Tour) -> None:
    """Assert that the tour was answered with the statuses that its page promises."""
    assert tour.errors == ""
    assert tour.page.promised().fullmatch(tour.statuses), tour.statuses


def check_outputs(tour: Tour) -> None:
    """Assert that the tour put out what its page shows."""
    assert [lasting(output) for output in tour.outputs] == [lasting(output) for output in tour.page.outputs()]
