"""ARCHITECTURE.md against the modules that there are."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOORS = (ROOT / "ARCHITECTURE.md").read_text().partition("## The floors")[2].partition("\n## ")[0]
#: Generated, and told of as a whole.
MIGRATIONS = "catalog/migrations/"


def test_the_floors_are_those_that_are_checked():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert re.findall(r"\*\*`([^`]+)`\*\*", FLOORS) == layers


def test_every_module_is_told_of_and_every_one_told_of_is_there():
    source = ROOT / "src/headwater"
    paths = [path.relative_to(source) for path in source.rglob("*.py")]
    there = {path.stem for path in paths if path.stem != "__init__" and not path.as_posix().startswith(MIGRATIONS)}
    folders = {path.name for path in source.rglob("*") if path.is_dir()}
    named = {name for quoted in re.findall(r"`([^`]+)`", FLOORS) for name in re.findall(r"\w+", quoted)}
    assert there - named == set()
    assert named - there - folders - {"create_app"} == set()
