"""deploy/headwater.service, as systemd reads it, and with the settings that there are."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs_page import ROOT
from headwater.settings import Settings

UNIT = (ROOT / "deploy/headwater.service").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_unit(tmp_path):
    program = str(Path(sys.executable).with_name("headwater"))
    (tmp_path / "headwater.service").write_text(UNIT.replace("/opt/headwater/bin/headwater", program))
    ran = subprocess.run(
        [shutil.which("systemd-analyze"), "verify", "--man=no", tmp_path / "headwater.service"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, [line for line in ran.stderr.splitlines() if "headwater.service" in line]) == (0, [])


def test_its_variables_are_settings(monkeypatch, tmp_path):
    given = dict(re.findall(r"(HEADWATER_\w+)=(\S+)", UNIT))
    (tmp_path / "headwater.toml").write_text("port = 8123\n")
    given["HEADWATER_CONFIG"] = str(tmp_path / "headwater.toml")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings.read()
    assert (settings.data, settings.port, settings.log_format) == (Path("/var/lib/headwater"), 8123, "json")
