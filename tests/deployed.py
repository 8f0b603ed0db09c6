"""What the files of a deployment say: instructions of a Containerfile, commands, variables."""

import json
import re
import tomllib
from dataclasses import dataclass
from functools import cache

import pytest

from docs_page import ROOT
from headwater.settings import Settings

#: Variables that are read by what opens an object store, and by programs that are served beside Headwater.
OTHERS = {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "PATH"}


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One of a Containerfile, such as ``COPY src ./src``."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its arguments, also where they are a list in JSON."""
        return json.loads(self.text) if self.text.startswith("[") else self.text.split()


@cache
def instructions() -> list[Instruction]:
    """Return those of the Containerfile."""
    lines = [line for line in (ROOT / "Containerfile").read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    split = (line.partition(" ") for line in text.splitlines() if line)
    return [Instruction(name=name, text=rest.strip()) for name, _, rest in split]


def image_variables() -> dict[str, str]:
    """Return what the image sets."""
    (env,) = [each for each in instructions() if each.name == "ENV"]
    return dict(word.split("=", 1) for word in env.words)


def server_commands() -> set[str]:
    """Return the commands that the wheel of the server adds to ``headwater``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "headwater" in project["scripts"]
    return set(project["entry-points"]["headwater.commands"])


def settings_of(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of a server that is started with these variables alone; an unknown one is an error."""
    for name in [name for name in variables if name not in OTHERS]:
        assert name.startswith("HEADWATER_"), name
        monkeypatch.setenv(name, variables[name])
    monkeypatch.setenv("HEADWATER_CONFIG", "/dev/null")
    return Settings.read()
