"""``make screenshots``: every page of the console, light and dark, wide and narrow, in ``dist/screenshots``.

Those that stand in the documentation are copied to ``docs/console``.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import Page

from browser.chromium import NoBrowser, chromium, opened
from browser.story import Teller, spread_over_days
from console_places import Places
from end_to_end.conftest import free_port
from readiness import wait_until_ready

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "dist/screenshots"
SHOWN = ROOT / "docs/console"
#: Those of the documentation.
IN_DOCS = ("home", "run", "stream-without", "undo", "document")
SIZES = ((1400, 900), (390, 844))
SCHEMES = ("light", "dark")


def take(page: Page, url: str, key: str, story: Places, ending: str) -> None:
    """Take a picture of each page."""
    page.goto(f"{url}/console/sign-in")
    page.screenshot(path=FOLDER / f"sign-in-{ending}.png")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/console/")
    for name, place in story.by_name().items():
        page.goto(url + place)
        page.locator(".pending").wait_for(state="detached")
        if name == "docs":
            page.locator(".opblock-summary-path").first.wait_for()
        page.wait_for_timeout(300)  # what else loads after the frame
        page.screenshot(path=FOLDER / f"{name}-{ending}.png")


def main() -> None:
    """Serve a Headwater with a story, and take the pictures."""
    try:
        chromium()
    except NoBrowser as error:
        sys.exit(str(error))
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder) / "data", free_port()
        url = f"http://127.0.0.1:{port}"
        environment = os.environ | {"HEADWATER_NOTICE_BACKOFF": "0.1", "HEADWATER_LOG_LEVEL": "error"}
        command = [sys.executable, "-m", "headwater", "serve", "--data", str(data), "--port", str(port)]
        served = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            assert wait_until_ready(served, port)
            key = (data / "admin.key").read_text().strip()
            with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
                story = Teller(client).tell()
            spread_over_days(data)
            with opened() as chrome:
                for width, height in SIZES:
                    for scheme in SCHEMES:
                        size = {"width": width, "height": height}
                        context = chrome.new_context(viewport=size, color_scheme=scheme)
                        take(context.new_page(), url, key, story, f"{width}-{scheme}")
                        context.close()
        finally:
            served.send_signal(signal.SIGTERM)
            served.wait(40)
    SHOWN.mkdir(exist_ok=True)
    for name in IN_DOCS:
        shutil.copy(FOLDER / f"{name}-1400-light.png", SHOWN / f"{name}.png")
    print(f"{len(list(FOLDER.iterdir()))} pictures in {FOLDER}")  # noqa: T201 - its result


if __name__ == "__main__":
    main()
