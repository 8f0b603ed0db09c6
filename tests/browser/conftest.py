"""A Chromium that visits a served Headwater; whatever it should not do fails the test."""

import itertools
import json
from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import Browser, Page

from browser.chromium import NoBrowser, opened, script
from browser.story import Teller
from end_to_end.conftest import Served, serve  # noqa: F401 - a fixture

AXE = "axe-core/axe.min.js"
#: What a page may say in the browser's own console: answers that a test asks for.
EXPECTED = ("the server responded with a status of 4",)


# Of a module: the event loop that Playwright runs in this thread must be gone before tests that want their own.
@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """A Chromium without a window."""
    try:
        with opened() as browser:
            yield browser
    except NoBrowser as error:
        pytest.skip(str(error))


_PLACES = map("{:02}".format, itertools.count(1))


@pytest.fixture(scope="module")
def headwater(tmp_path_factory) -> Iterator[Served]:
    """A Headwater that tests share: each tells a story of its own to it."""
    served = Served(tmp_path_factory.mktemp("served") / "data", HEADWATER_NOTICE_BACKOFF="0.1")
    served.start()
    yield served
    served.stop()


@pytest.fixture
def told(headwater):
    """A Headwater with a story, which is this test's alone."""
    with headwater.client() as client:
        yield headwater, Teller(client, place=next(_PLACES)).tell(), client


class Visitor:
    """Somebody with a browser."""

    def __init__(self, chrome: Browser, served: Served, *, also: Sequence[str] = (), **options) -> None:
        self.served = served
        #: Where pages may ask besides, in this test.
        self.also = tuple(also)
        self.context = chrome.new_context(base_url=served.url, viewport={"width": 1400, "height": 900}, **options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        #: What should not have happened.
        self.wrong: list[str] = []
        self.page.on("console", lambda said: self._heard(said.type, said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.context.on("request", lambda asked: self._asked(asked.url))

    def _heard(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not any(each in text for each in EXPECTED):
            self.wrong.append(f"{kind}: {text}")

    def _asked(self, url: str) -> None:
        if not url.startswith((self.served.url, "data:", *self.also)):
            self.wrong.append(f"asked elsewhere: {url}")

    def sign_in(self, key: str | None = None) -> None:
        self.page.goto(f"{self.served.url}/console/sign-in")
        self.page.get_by_label("API key").fill(key or self.served.key())
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/console/")

    def barriers(self) -> list[str]:
        """What axe finds."""
        # By the debugger: the page's policy lets nobody else's script in.
        session = self.context.new_cdp_session(self.page)
        question = (
            f"{script(AXE)};axe.run(document, {{resultTypes: ['violations']}}).then(r => JSON.stringify(r.violations))"
        )
        answer = session.send("Runtime.evaluate", {"expression": question, "awaitPromise": True, "returnByValue": True})
        session.detach()
        found = json.loads(answer["result"]["value"])
        return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        root = "document.documentElement"
        return self.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")

    def close(self) -> None:
        self.context.close()
        assert self.wrong == []


@pytest.fixture
def visit(chrome) -> Iterator:
    opened: list[Visitor] = []

    def start(served: Served, **options) -> Visitor:
        opened.append(Visitor(chrome, served, **options))
        return opened[-1]

    yield start
    for visitor in opened:
        visitor.close()
