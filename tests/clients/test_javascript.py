"""The JavaScript client's own tests, which need nothing but Node."""

import subprocess

from docs_page import ROOT
from node import NODE


def test_the_javascript_client_keeps_its_promises():
    folder = ROOT / "clients/js"
    files = sorted(str(file.relative_to(folder)) for file in (folder / "test").glob("*.test.js"))
    ran = subprocess.run([NODE, "--test", *files], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout[-6000:]
    assert "\n# pass 0\n" not in ran.stdout
