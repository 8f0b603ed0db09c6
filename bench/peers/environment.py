"""A virtual environment for each peer, made once from its requirements and used again."""

import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

from bench.read_data import KEPT
from examples.packages_crawler.processes import Failed

#: What runs leave for later ones; git ignores it.
FOLDER = KEPT / "peers"
#: Seconds that an installation may take.
_PATIENCE = 900.0


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The virtual environment of a peer."""

    folder: Path

    def program(self, name: str) -> str:
        """Return the path of one of its programs."""
        return str(self.folder / "bin" / name)

    def run(self, name: str, *arguments: str | Path) -> str:
        """Run one of them until it ends; return what it printed.

        Raises:
            Failed: it did.
        """
        return _run(self.program(name), *arguments)

    def version(self, distribution: str) -> str:
        """Return the version of a package in it.

        Raises:
            Failed: it is not there.
        """
        places = [str(place) for place in self.folder.glob("lib/python*/site-packages")]
        for found in Distribution.discover(name=distribution, path=places):
            return found.version
        raise Failed(f"{distribution} is not installed in {self.folder}")


def prepared(home: str) -> Environment:
    """Return the environment of a peer, made now unless a former run made it from the same requirements.

    Raises:
        Failed: something cannot be installed.
    """
    requirements = Path(__file__).with_name(home) / "requirements.txt"
    environment = Environment(folder=FOLDER / home / "environment")
    stamp = environment.folder / "made-of.txt"
    wanted = f"# Python {platform.python_version()}\n{requirements.read_text()}"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(environment.folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", environment.folder)
        quietly = ("--quiet", "--disable-pip-version-check", "--no-input")
        environment.run("python", "-m", "pip", "install", *quietly, "--requirement", requirements)
        # Written last: without it, whatever is there is made anew.
        stamp.write_text(wanted)
    return environment


def _run(*command: str | Path) -> str:
    ended = subprocess.run(  # noqa: S603 - the commands are our own
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False
    )
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or [f"it ended with {ended.returncode}"]
        # Of all that pip says, what went wrong is not always the last.
        errors = [line for line in said if line.startswith("ERROR: ")] or said
        raise Failed(f"{Path(command[0]).name}: {errors[-1].removeprefix('ERROR: ')}")
    return ended.stdout
