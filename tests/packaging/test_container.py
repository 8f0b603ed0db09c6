"""Containerfile: it builds from what it copies, and runs what a wheel installs."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import hatch_build
from deployed import image_variables, instructions, server_commands, settings_of
from docs_page import ROOT
from end_to_end.conftest import Served

IGNORED = (ROOT / ".dockerignore").read_text().splitlines()
COPIED = [
    source
    for instruction in instructions()
    if instruction.name == "COPY" and not instruction.text.startswith("--from")
    for source in instruction.words[:-1]
]


def _texts(name: str) -> list[str]:
    return [each.text for each in instructions() if each.name == name]


def _context(folder: Path) -> Path:
    """Make a folder with what the build is given: what is copied, but for what is ignored."""
    left = [line for line in IGNORED if line and line[0] not in "#*!"]
    anywhere = shutil.ignore_patterns(*(line.removeprefix("**/") for line in IGNORED if line.startswith("**/")))
    for source in COPIED:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / source, ignore=anywhere)
        else:
            shutil.copy(ROOT / source, folder / source)
    for path in left:
        shutil.rmtree(folder / path, ignore_errors=True)
    return folder


def test_what_is_copied_is_in_the_context_and_nothing_else():
    assert IGNORED[1] == "*"
    assert sorted(COPIED) == sorted(line[1:] for line in IGNORED if line.startswith("!"))


def test_the_wheels_are_built_from_what_is_copied(tmp_path):
    context = _context(tmp_path)
    assert not list(context.rglob("libscanner*"))
    if (ROOT / hatch_build.VENDORED).is_dir():  # otherwise npm fetches it, as in a container
        shutil.copytree(ROOT / hatch_build.VENDORED, context / hatch_build.VENDORED)
    for project in (context, context / "clients/python"):
        ran = subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "wheels")],
            cwd=project,
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
    names = {name for file in (tmp_path / "wheels").iterdir() for name in zipfile.ZipFile(file).namelist()}
    assert {"headwater/app.py", "headwater/ingest/scanner/libscanner.so", "headwater_client/cli/__init__.py"} <= names
    assert any(name.startswith("headwater/console/static/vendor/htmx") for name in names)


def test_it_runs_a_command_that_the_wheel_installs():
    entry, command = (
        next(each.words for each in instructions() if each.name == name) for name in ("ENTRYPOINT", "CMD")
    )
    assert (entry, command) == (["headwater"], ["serve"])
    assert set(command) <= server_commands()


def test_its_variables_are_settings(monkeypatch):
    settings = settings_of(image_variables(), monkeypatch)
    assert (str(settings.data), settings.host, str(settings.port)) == ("/data", "0.0.0.0", *_texts("EXPOSE"))  # noqa: S104
    assert _texts("VOLUME") == [str(settings.data)]


def test_it_does_not_run_as_root():
    (user,) = _texts("USER")
    assert [int(number) > 0 for number in user.split(":")] == [True, True]
    assert any(f"--uid {user.partition(':')[0]}" in text for text in _texts("RUN"))


def test_its_health_check_tells_a_server_that_answers_from_one_that_does_not(tmp_path):
    (text,) = _texts("HEALTHCHECK")
    program, option, code = json.loads(text.partition("CMD ")[2])
    assert (program, option) == ("python", "-c")
    served = Served(tmp_path / "data")
    moved = code.replace(":8080/", f":{served.port}/")
    assert moved != code
    check = [sys.executable, "-c", moved]
    served.start()
    try:
        assert subprocess.run(check, check=False, timeout=30).returncode == 0
    finally:
        served.stop()
    assert subprocess.run(check, check=False, timeout=30, stderr=subprocess.DEVNULL).returncode != 0
