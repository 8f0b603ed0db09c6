"""docs/reference/cli.md against the command line.

The help of every command stands on the page. After a change, ``python tests/docs/test_cli.py`` writes it anew.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from headwater_client.cli.access import KEY, URL
from headwater_client.cli.app import app
from headwater_client.cli.errors import ExitCode
from headwater_client.cli.push.files import FORMS

FILE = Path(__file__).parents[2] / "docs/reference/cli.md"
PAGE, HEADING, COMMANDS = FILE.read_text().partition("## Commands\n")
BLOCK = re.compile(r"^### (headwater[\w -]*)\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HELP = dict(BLOCK.findall(COMMANDS))


def _paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words that lead to each command."""
    yield path
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from _paths(command.get_command(None, name), (*path, name))


PATHS = list(_paths(typer.main.get_command(app)))


def _help(path: tuple[str, ...]) -> str:
    ran = CliRunner().invoke(app, [*path, "--help"], prog_name="headwater", env={"COLUMNS": "80"})
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def _name(path: tuple[str, ...]) -> str:
    return " ".join(("headwater", *path))


def test_every_command_is_on_the_page_and_every_one_on_the_page_is_there():
    assert list(HELP) == [_name(path) for path in PATHS]


@pytest.mark.parametrize("path", PATHS, ids=_name)
def test_the_page_shows_the_help_of_a_command(path):
    assert _help(path) == HELP.get(_name(path)), "python tests/docs/test_cli.py writes the page anew"


@pytest.mark.parametrize("path", [path for path in PATHS if "Commands:" in HELP.get(_name(path), "")], ids=_name)
def test_what_a_command_does_is_said_in_a_line(path):
    assert "..." not in _help(path).partition("Commands:")[2]


def test_the_page_has_every_exit_code():
    told = re.findall(r"^\| (\d+) \|", PAGE.partition("## Exit codes")[2].partition("\n## ")[0], re.MULTILINE)
    assert list(map(int, told)) == list(ExitCode)


def test_the_page_has_every_ending_and_variable():
    endings = PAGE.partition("| name ends in |")[2].partition("\n\n")[0]
    assert re.findall(r"`(\.\w+)`", endings) == list(FORMS)
    assert f"`{URL}`" in PAGE
    assert f"`{KEY}`" in PAGE


def _written() -> str:
    blocks = (f"\n### {_name(path)}\n\n```text\n{_help(path)}```\n" for path in PATHS)
    return f"{PAGE}{HEADING}{''.join(blocks)}"


if __name__ == "__main__":
    FILE.write_text(_written())
