"""Pages of the documentation, run as they stand against a Headwater that is really served."""

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import node
from docs_page import ROOT, Page, Step
from fork_server import fork_server
from readiness import wait_until_ready

#: Seconds that a page, and each program on it, may take.
_PATIENCE = 120.0
#: Put between the outputs of a tour's blocks.
_SEPARATOR = "\x1e"
#: What of a page's variables its programs find in their environment.
_VARIABLES = ("HEADWATER_URL", "HEADWATER_KEY", "HEADWATER_CRAWLER")
#: What is served is served with: receivers of webhooks are on this machine.
_SETTINGS = {"HEADWATER_WEBHOOK_PRIVATE_ADDRESSES": "true"}
#: What differs from run to run, and what stands for it in a comparison.
_PASSING = {
    r"\b[0-9a-f]{32}\b": "FID",
    r"(?<=FID\.)[\w-]{43}": "TOKEN",
    r"127\.0\.0\.1:\d+": "HOST",
    r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z": "MOMENT",
}
#: By language: a program's file, what runs it, and what puts out the separator.
_PROGRAMS = {
    "python": ("program.py", "python", "print(chr(30), end='', flush=True)\n"),
    "js": ("program.mjs", "node", "process.stdout.write('\\x1e');\n"),
}


@dataclass(frozen=True, kw_only=True)
class Served:
    """A Headwater that is served."""

    url: str
    data: Path
    log: Path

    def statuses(self, *, until: re.Pattern[str]) -> str:
        """Return the statuses that were answered, a blank behind each, once they match or do not come to."""
        retry_for = time.monotonic() + 5
        while True:
            lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
            answered = [line for line in lines if line["event"] == "http.answered" and not _is_aside(line)]
            found = "".join(f"{line['status']} " for line in answered)
            if until.fullmatch(found) or time.monotonic() > retry_for:
                return found
            time.sleep(0.05)  # an answer is logged just after it was sent


def _is_aside(line: dict) -> bool:
    """Whether a page says nothing of a request: logs are sent from time to time, beside everything else."""
    return line["path"] == "/readyz" or (line["method"], line["path"].rpartition("/")[2]) == ("POST", "log")


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
    with server.log.open("w") as log:
        process = fork_server().start(
            "headwater",
            ["serve", "--data", str(server.data), "--port", str(port)],
            env=environment(**_SETTINGS),
            cwd=folder,
            stdout=log.fileno(),
            stderr=log.fileno(),
        )
        try:
            if not wait_until_ready(process, port, path="/readyz"):
                pytest.fail(f"Headwater did not start:\n{server.log.read_text()}")
            yield server
        finally:
            process.terminate()
            process.wait(40)


def environment(**more: str) -> dict[str, str]:
    """Return the variables that a program is run with: none that set Headwater up."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:{node.FOLDER}"} | more


def take(page: Page, served: Served, folder: Path, *, is_prepared: bool = True) -> Tour:
    """Run a page in a folder, against a Headwater that nobody has asked anything yet.

    Unless it ``is_prepared``, the clients are not installed: the folder is like a clone on a new machine.
    """
    missing = [tool for tool in ("bash", "curl", "gzip") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the page needs {', '.join(missing)}")
    where = {"HEADWATER_URL": served.url, "HEADWATER_DATA": str(served.data), "HOME": str(folder)}
    if is_prepared:
        (folder / "node_modules").mkdir()
        (folder / "node_modules/headwater-client").symlink_to(ROOT / "clients/js")
        told = _tell(page.story(), folder, environment(**where, TMPDIR=str(folder)))
    else:
        told = _tell(page.story(), _clone(folder / "clone"), environment(**where, PATH=_bare_path(folder / "bin")))
    statuses = served.statuses(until=page.promised())
    key = (served.data / "admin.key").read_text().strip()
    variables = {"HEADWATER_URL": served.url, "HEADWATER_KEY": key} | told.variables
    programs = [_run(language, page.program(language), told.folder, variables) for language in _PROGRAMS]
    return Tour(
        page=page,
        errors="".join([told.errors, *(errors for errors, _ in programs)]),
        outputs=[*told.outputs, *(output for _, outputs in programs for output in outputs)],
        statuses=statuses,
        variables=variables,
    )


def _clone(folder: Path) -> Path:
    """Return a folder with the clients, as they are in a clone."""
    built = shutil.ignore_patterns("node_modules", "__pycache__", "dist", ".*_cache")
    shutil.copytree(ROOT / "clients", folder / "clients", ignore=built)
    return folder


def _bare_path(folder: Path) -> str:
    """Return a PATH with python3 and node, and without the environment that the tests run in."""
    folder.mkdir()
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    own = str(Path(sys.executable).parent)
    kept = [place for place in os.environ["PATH"].split(os.pathsep) if place != own]
    return os.pathsep.join([str(folder), *kept, str(node.FOLDER)])


@dataclass(frozen=True, kw_only=True)
class _Told:
    errors: str
    outputs: list[str]
    #: Where the shell was in the end, and what variables it had then.
    folder: Path
    variables: dict[str, str]


def _tell(story: list[Step], folder: Path, variables: Mapping[str, str]) -> _Told:
    ending = "".join(f'printf "\\036%s" "${{{name}-}}"\n' for name in ("PWD", *_VARIABLES))
    script = "set -u\n" + "".join(_command(step) for step in story) + ending
    errors, output = _finished(["bash", "-c", script], folder, variables)
    run = sum(step.name is None for step in story)
    outputs, ends = output.split(_SEPARATOR)[:run], output.split(_SEPARATOR)[run + 1 :]
    if not ends:
        pytest.fail(f"the page ended its shell:\n{errors}")
    found = dict(zip(("PWD", *_VARIABLES), ends, strict=True))
    return _Told(
        errors=errors,
        outputs=outputs,
        folder=Path(found.pop("PWD")),
        variables={name: value for name, value in found.items() if value},
    )


def _command(step: Step) -> str:
    """What a step is in the shell: its commands with a separator behind them, or what saves its file."""
    if step.name is None:
        return f"{step.text}printf '\\036'\n"
    end = f"END_{secrets.token_hex(8)}"
    name = shlex.quote(step.name)
    return f"mkdir -p \"$(dirname {name})\"\ncat > {name} <<'{end}'\n{step.text}{end}\n"


def _run(language: str, steps: list[Step], folder: Path, variables: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return what a page's program in a language writes on stderr, and what each part of it puts out."""
    if not steps:
        return "", []
    name, program, separate = _PROGRAMS[language]
    (folder / name).write_text("".join(f"{step.text}{separate}" for step in steps))
    errors, output = _finished([program, name], folder, environment(**variables))
    return errors, output.split(_SEPARATOR)[: len(steps)]


def _finished(command: list[str], folder: Path, variables: Mapping[str, str]) -> tuple[str, str]:
    """Return what a program wrote on stderr and stdout when it had ended; what it left running is ended."""
    # Files, not pipes: a pipe would stay open for as long as something that was left running holds it.
    errors, output = folder / f"{command[0]}.stderr", folder / f"{command[0]}.stdout"
    with errors.open("w") as stderr, output.open("w") as stdout:
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=stdout, stderr=stderr, start_new_session=True
        )
        try:
            code = process.wait(_PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    failed = f"{command[0]} ended with {code}\n" if code and command[0] != "bash" else ""
    return errors.read_text() + failed, output.read_text()


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
    shown = [lasting(output) for output in tour.page.outputs()]
    assert _as_shown([lasting(output) for output in tour.outputs], shown) == shown


def _as_shown(outputs: list[str], shown: list[str]) -> list[str]:
    """Return outputs, those that fit what is shown in its words: ``…`` stands for anything."""
    if len(outputs) != len(shown):
        return outputs
    return [
        text if re.fullmatch(".*".join(map(re.escape, text.split("…"))), output, re.DOTALL) else output
        for output, text in zip(outputs, shown, strict=True)
    ]
