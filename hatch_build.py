"""Makes the scanner's machine code, with the C compiler that is in the package ``ziglang``."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
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
        new = library.with_suffix(".new")
        with TemporaryDirectory() as cache:  # the compiler leaves nothing in anybody's home
            subprocess.run(  # noqa: S603 - our own compiler
                [sys.executable, "-m", "ziglang", "cc", *FLAGS, str(source), "-o", str(new)],
                env={**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache},
                check=True,
            )
        new.replace(library)  # a server that runs keeps the one that it has
        build_data["artifacts"].append(str(LIBRARY))
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
