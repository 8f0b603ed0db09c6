"""The command line, away from anybody's login and environment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    """Where logins are kept."""
    for name in list(os.environ):
        if name.startswith("HEADWATER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "config"


@pytest.fixture
def run():
    """Run the command line as a program, and return what came of it."""

    def ran(*words: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "headwater_client", *words],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "80", **environment},
            timeout=60,
            check=False,
        )

    return ran
