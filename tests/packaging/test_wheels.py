"""``make dist``: each wheel runs where its name says, and says what it is made of."""

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import hatch_build
from docs_page import ROOT
from end_to_end.conftest import Served, a_crawler, made

SCANNER = "headwater/ingest/scanner/libscanner.so"
#: By architecture of a tag for Linux: the machine of an ELF file.
MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}
#: By architecture of a tag for macOS: the processor of a Mach-O file.
PROCESSORS = {"x86_64": 0x01000007, "arm64": 0x0100000C}
MACH_O_64 = 0xFEEDFACF
#: The load command with the oldest system.
BUILD_VERSION = 0x32


def _built(folder: Path, target: str, **environment: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert ran.returncode == 0, ran.stderr
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module", params=hatch_build.TARGETS)
def wheel(request, tmp_path_factory) -> tuple[str, Path]:
    """A platform, and its wheel."""
    before = (ROOT / hatch_build.LIBRARY).read_bytes()
    file = _built(tmp_path_factory.mktemp("wheel"), "wheel", **{hatch_build.PLATFORM: request.param})
    assert (ROOT / hatch_build.LIBRARY).read_bytes() == before  # the one that runs here
    return request.param, file


def test_a_wheel_fits_the_platform_of_its_name(wheel):
    platform, file = wheel
    assert file.name.endswith(f"-py3-none-{platform}.whl")
    if platform.startswith("macosx"):
        _, major, minor, processor = platform.split("_", 3)
        with zipfile.ZipFile(file) as archive:
            found, oldest = _mach_o(archive.read(SCANNER))
        assert (found, oldest) == (PROCESSORS[processor], (int(major), int(minor)))
        return
    if platform.startswith("musllinux"):
        # auditwheel itself would look for the libraries of this machine, whose libc is another.
        policies = json.loads((files("auditwheel.policy") / "musllinux-policy.json").read_text())
        (allowed,) = [policy["lib_whitelist"] for policy in policies if policy["name"] == "musllinux_1_2"]
        with zipfile.ZipFile(file) as archive:
            library = ELFFile(io.BytesIO(archive.read(SCANNER)))
        needed = [tag.needed for tag in library.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")]
        assert set(needed) <= set(allowed)
        assert library.get_section_by_name(".gnu.version_r") is None
        assert library["e_machine"] == MACHINES[platform.removeprefix("musllinux_1_2_")]
        return
    shown = subprocess.run(
        [Path(sys.executable).with_name("auditwheel"), "show", "--json", file],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert f'"{platform}"' in shown.stdout, shown.stdout


def test_a_wheel_says_what_it_is_made_of(wheel):
    with zipfile.ZipFile(wheel[1]) as archive:
        (name,) = [name for name in archive.namelist() if ".dist-info/sboms/" in name]
        sbom = json.loads(archive.read(name))
        library = archive.read(SCANNER)
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    parts = {part["name"]: part for part in sbom["components"]}
    assert parts["libscanner.so"]["hashes"][0]["content"] == hashlib.sha256(library).hexdigest()
    assert set(hatch_build.SCRIPTS) | {"duckdb", "pyarrow", "headwater-client"} <= set(parts)
    lock = json.loads((ROOT / hatch_build.VENDOR / "package-lock.json").read_text())["packages"]
    assert parts["htmx.org"]["version"] == lock["node_modules/htmx.org"]["version"]


@pytest.fixture(scope="module")
def pure(tmp_path_factory) -> Path:
    """A folder that holds what the pure wheel does."""
    file = _built(tmp_path_factory.mktemp("pure"), "wheel", **{hatch_build.PLATFORM: hatch_build.ANY})
    assert file.name.endswith("-py3-none-any.whl")
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)  # noqa: S202 - it was built here
    return folder


def test_the_pure_wheel_has_no_machine_code_and_says_so(pure):
    assert not list(pure.rglob("*.so"))
    (wheel,) = pure.glob("*.dist-info/WHEEL")
    assert "Root-Is-Purelib: true" in wheel.read_text()
    (sbom,) = pure.glob("*.dist-info/sboms/*")
    assert "libscanner.so" not in sbom.read_text()
    assert list(pure.glob("headwater/console/static/vendor/htmx.org/*.js"))


def test_without_machine_code_uploads_have_the_same_results_and_errors(pure):
    environment = os.environ | {"PYTHONPATH": str(pure)}
    code = "from headwater.ingest.scanner import fitting; print(fitting.__file__); print(fitting.why_missing)"
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.startswith(f"{pure}/headwater/")
    assert "libscanner.so: cannot open shared object file" in told.stdout
    tests = [f"tests/ingest/test_{name}.py" for name in ("validation", "lenient", "replay", "upload")]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={name: value for name, value in environment.items() if not name.startswith(("PYTEST_", "TEST_"))},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]


def test_a_server_without_machine_code_warns_once_and_takes_documents(pure, tmp_path):
    # Two workers, of which one warns.
    served = Served(tmp_path / "data", arguments=["--workers", "2"], PYTHONPATH=str(pure), HEADWATER_LOG_FORMAT="json")
    served.start()
    try:
        with served.client() as client:
            schema = {"properties": {"price": {"type": "number"}}}
            crawler = a_crawler(client, external={"schema": schema})
            task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
            path = f"/actions/tasks/{task['fid']}/upload"
            assert client.post(path, content=b'{"id": "a", "price": 1}\r\n\n{"id": "b"}').status_code == 200
            refused = client.post(path, content=b'{"id": "c"}\n{"id": "d", "price": "1"}\n')
            assert (refused.status_code, refused.json()["errors"][0]["line"]) == (406, 2)
            docs = client.get(f"/streams/{task['stream']}/docs").json()["payload"]
            assert {doc["id"] for doc in docs} == {"a", "b"}
    finally:
        served.stop()
    (warning,) = [line for line in served.log.read_text().splitlines() if "scanner.missing" in line]
    assert json.loads(warning)["level"] == "warning"
    assert "libscanner.so" in json.loads(warning)["why"]


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="its wheel runs elsewhere")
def test_the_wheel_of_this_machine_runs(tmp_path):
    (tmp_path / "wheel").mkdir()
    file = _built(tmp_path / "wheel", "wheel", **{hatch_build.PLATFORM: "manylinux_2_17_x86_64"})
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "installed")  # noqa: S202 - it was built here
    code = "from headwater.ingest.scanner.library import LIBRARY, line_offsets; print(LIBRARY, line_offsets(b'{}\\n'))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.stdout.split()[0] == str(tmp_path / "installed" / SCANNER), ran.stderr


def test_the_sdist_holds_what_a_build_needs(tmp_path):
    (tmp_path / "sdist").mkdir()
    with tarfile.open(_built(tmp_path / "sdist", "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {str(hatch_build.SOURCE), "hatch_build.py", "pyproject.toml", "LICENSE", "README.md"} <= names
    assert f"{hatch_build.VENDOR}/package-lock.json" in names
    assert not any(name.endswith(".so") or "node_modules" in name for name in names)


def test_a_platform_that_there_is_not_is_refused(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {hatch_build.PLATFORM: "win_amd64"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode != 0
    assert "HEADWATER_WHEEL_PLATFORM is win_amd64; there are manylinux_2_17_x86_64" in ran.stdout + ran.stderr


def _mach_o(data: bytes) -> tuple[int, tuple[int, int]]:
    """Return the processor of a Mach-O file, and the oldest system that loads it."""
    magic, processor, _, _, commands, _, _, _ = struct.unpack_from("<8I", data)
    assert magic == MACH_O_64
    at = 32
    for _ in range(commands):
        kind, size = struct.unpack_from("<2I", data, at)
        if kind == BUILD_VERSION:
            (oldest,) = struct.unpack_from("<I", data, at + 12)
            return processor, (oldest >> 16, oldest >> 8 & 255)
        at += size
    raise AssertionError("no oldest system")
