"""Makes the scanner's machine code, with the C compiler that is in the package ``ziglang``."""

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("src/headwater/ingest/scanner.c")
LIBRARY = SOURCE.with_name("libscanner.so")
#: For every processor of a kind, not only for this one.
FLAGS = ("-O3", "-mcpu=baseline", "-std=c17", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-s")


class CompileScanner(BuildHookInterface[Any]):
    """Compiles before a wheel is made, also one that only points here (``pip install --editable``)."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling names it
        """Compile, and make the wheel one for this system."""
        source, library = Path(self.root, SOURCE), Path(self.root, LIBRARY)
        subprocess.run(  # noqa: S603 - our own compiler
            [sys.executable, "-m", "ziglang", "cc", *FLAGS, str(source), "-o", str(library)], check=True
        )
        build_data["artifacts"].append(str(LIBRARY))
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
