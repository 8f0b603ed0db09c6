"""What the linters of the files in deploy/ say of them. ``make lint-deploy`` installs those that are on PyPI."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs_page import ROOT


@dataclass(frozen=True, kw_only=True)
class Linter:
    """A linter of a file."""

    #: Its command, before the file.
    command: tuple[str, ...]
    file: str
    #: A fault, to see that it looks: a text of the file, and what it becomes.
    fault: tuple[str, str]

    def run(self, file: Path) -> subprocess.CompletedProcess[str]:
        """Run it over the file, or skip the test if it is not installed."""
        program = shutil.which(self.command[0])
        if program is None:
            pytest.skip(f"needs {self.command[0]}")
        return subprocess.run(
            [program, *self.command[1:], str(file)], capture_output=True, text=True, check=False, timeout=120
        )


KUBERNETES = ("kubernetes-validate", "--strict")
LINTERS = {
    "Containerfile": Linter(
        command=("hadolint",), file="Containerfile", fault=("\nUSER ", "\nRUN cd /tmp && sudo apt-get install x\nUSER ")
    ),
    "compose": Linter(
        command=("check-jsonschema", "--builtin-schema", "vendor.compose-spec"),
        file="compose.yaml",
        fault=("\n    image: ", "\n    imagee: "),
    ),
    "alerts": Linter(
        command=("promtool", "check", "rules"), file="deploy/prometheus-alerts.yaml", fault=("expr: ", "expr: ) ")
    ),
} | {
    file.stem: Linter(command=KUBERNETES, file=str(file.relative_to(ROOT)), fault=("metadata:", "meta-data:"))
    for file in sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
    if file.stem != "kustomization"  # of which kubernetes-validate has no schema; kubectl reads it
}


@pytest.mark.parametrize("linter", LINTERS.values(), ids=LINTERS)
def test_a_linter_has_nothing_to_say(linter):
    ran = linter.run(ROOT / linter.file)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("linter", LINTERS.values(), ids=LINTERS)
def test_a_linter_finds_a_fault(linter, tmp_path):
    text = (ROOT / linter.file).read_text()
    assert linter.fault[0] in text
    wrong = tmp_path / Path(linter.file).name
    wrong.write_text(text.replace(*linter.fault, 1))
    assert linter.run(wrong).returncode != 0
