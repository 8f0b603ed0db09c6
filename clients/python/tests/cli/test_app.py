import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

import headwater_client
from headwater_client.cli.app import OWN, app

COMMANDS = {
    "tasks": {
        "list",
        "show",
        "start",
        "watch",
        "retry",
        "stop",
        "delete",
        "restore",
        "rejects",
        "replay",
        "diff",
        "publish",
        "log",
    },
    "streams": {
        *("list", "show", "create", "rename", "delete", "docs", "export", "log", "changes", "history"),
        *("revert", "restore", "erase", "bisect"),
    },
    "externals": {
        "list",
        "show",
        "register",
        "versions",
        "publish",
        "check",
        "credentials",
        "forget",
        "login",
        "edit",
        "delete",
    },
    "crawlers": {"list", "show", "create", "edit", "pause", "resume", "schedule", "expect", "gates", "delete"},
    "webhooks": {"list", "show", "create", "delete", "deliveries", "test", "replay"},
    "notify": {"list", "create", "delete", "test"},
    "keys": {"create", "list", "show", "edit", "rotate", "revoke", "admin"},
}


def test_every_command_explains_itself():
    # In this process: a program for each of them would take half a minute of processor.
    for words in [[], *([name] for name in OWN), *([name, each] for name in COMMANDS for each in COMMANDS[name])]:
        for flag in ("--help", "-h"):
            answer = CliRunner().invoke(app, [*words, flag], prog_name="headwater")
            assert (answer.exit_code, answer.stderr) == (0, "")
            assert answer.stdout.startswith(" ".join(["Usage: headwater", *words]))


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_the_program_explains_itself(run, flag):
    answer = run("push", flag)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("Usage: headwater push")


@pytest.mark.parametrize("module", sorted({"app", *OWN.values()}))
def test_annotations_of_commands_are_there_when_they_are_defined(module):
    app = import_module(f"headwater_client.cli.{module}").app
    infos = [*app.registered_commands, *filter(None, [app.registered_callback])]
    annotations = [each for info in infos for each in info.callback.__annotations__.values()]
    assert annotations
    assert [each for each in annotations if isinstance(each, str)] == []  # which typer on Python 3.9 cannot resolve


@pytest.mark.parametrize("name", COMMANDS)
def test_a_group_lists_its_commands(run, name):
    listed = run(name, "--help").stdout.partition("\nCommands:\n")[2]
    assert set(re.findall(r"^  (\w+) ", listed, re.MULTILINE)) == COMMANDS[name]


def test_the_commands_of_a_server_are_there_where_it_is_installed(run):
    listed = run("--help").stdout.partition("\nCommands of the server:\n")[2]
    assert set(re.findall(r"^  (\w+) ", listed, re.MULTILINE)) == {
        "serve",
        "migrate",
        "compact",
        "purge",
        "backup",
        "restore",
        "verify",
        "secret",
        "console",
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pusch"], "no such command 'pusch'. Did you mean 'push'? ('headwater --help' says more)"),
        (["--foo"], "no such option: --foo ('headwater --help' says more)"),
        (["push", "x"], "missing argument 'FILE' ('headwater push --help' says more)"),
        (["tasks", "list", "--foo"], "no such option: --foo ('headwater tasks list --help' says more)"),
    ],
)
def test_a_wrong_use_is_told_in_one_line(run, words, says):
    answer = run(*words)
    assert (answer.returncode, answer.stdout, answer.stderr) == (2, "", f"headwater: {says}\n")


def test_without_a_command_there_is_the_help(run):
    answer = run()
    assert answer.returncode == 2
    assert "Usage: headwater" in answer.stdout + answer.stderr


def test_the_version_is_told(run):
    told = run("--version", HEADWATER_URL="http://127.0.0.1:9")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == (
        f"headwater-client {version('headwater-client')}\nno Headwater answers at http://127.0.0.1:9\n"
    )


PROBE = """
import sys
from headwater_client.cli import main
sys.argv = ["headwater", *{words!r}]
try:
    main()
except SystemExit:
    pass
sys.stderr.write(" ".join(sorted(name for name in sys.modules if name in {suspects!r})))
"""


@pytest.mark.parametrize("words", [["push", "--help"], ["tasks", "delete", "--help"], ["streams", "--help"]])
def test_help_waits_neither_for_the_server_nor_for_http(words):
    suspects = {"headwater", "headwater.cli", "httpx", "rich.console", "rich.progress", "headwater_client.writer"}
    code = PROBE.format(words=words, suspects=suspects)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == ""


def test_a_command_does_not_wait_for_the_server():
    code = PROBE.format(words=["tasks", "list"], suspects={"headwater", "headwater.cli"})
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[1:] == []
    assert "there is no key" in ran.stderr


def test_without_the_extra_it_is_told_how_to_install_it():
    code = """
import importlib.util

real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "typer" else real(name, package)

from headwater_client.cli import main

main()
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr == "headwater: the command line is an extra: install headwater-client with its extra 'cli'\n"


def test_the_package_has_all_that_it_says():
    assert all(getattr(headwater_client, name).__name__ == name for name in headwater_client.__all__)
    assert headwater_client.errors.Problem is headwater_client.Problem
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = headwater_client.nothing
