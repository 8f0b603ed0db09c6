"""A Chromium that visits a served Headwater; whatever it should not do fails the test."""

import itertools
import json
from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.chromium import NoBrowser, opened, script
from browser.story import Teller
from end_to_end.conftest import Served, serve  # noqa: F401 - a fixture

AXE = "axe-core/axe.min.js"
#: What a page may say in the browser's own console: answers that a test asks for.
EXPECTED = ("the server responded with a status of 4",)
#: Seconds that a page may take: two browsers and their servers share two cores.
SECONDS = 60
expect.set_options(timeout=SECONDS * 1000)


#: Remembers what is focused from here on; returns how much there is. Of some radio buttons, the keyboard reaches one.
_WATCH_FOCUS = """() => {
  const shown = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  const wanted = [...document.querySelectorAll(shown)].filter((each) =>
    each.closest("main") && !each.disabled && !["hidden", "radio"].includes(each.type) && each.checkVisibility());
  const seen = new Set(), bare = new Set();
  document.addEventListener("focusin", ({ target }) => {
    seen.add(target);
    if (getComputedStyle(target).outlineStyle === "none") bare.add(target);
  });
  document.querySelector("#main").focus();
  bare.clear();
  window.outOfReach = () => wanted.filter((each) => each.isConnected && (!seen.has(each) || bare.has(each)))
    .map((each) => each.outerHTML.slice(0, 200));
  return wanted.length;
}"""


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
        self.page.set_default_timeout(SECONDS * 1000)
        #: What should not have happened.
        self.wrong: list[str] = []
        self.page.on("console", lambda said: self._heard(said.type, said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        # None of the pages opens one: it would be of a script that stands in a text.
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
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

    def barriers(self, *rules: str) -> list[str]:
        """What axe finds, by all of its rules or some."""
        # By the debugger: the page's policy lets nobody else's script in.
        session = self.context.new_cdp_session(self.page)
        options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
        question = f"{script(AXE)};axe.run(document, {json.dumps(options)}).then(r => JSON.stringify(r.violations))"
        answer = session.send("Runtime.evaluate", {"expression": question, "awaitPromise": True, "returnByValue": True})
        session.detach()
        found = json.loads(answer["result"]["value"])
        return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]

    def go(self, place: str) -> None:
        """Go to a page, and wait for all of it."""
        self.page.goto(place)
        expect(self.page.locator(".pending")).to_have_count(0)

    def out_of_reach(self) -> list[str]:
        """What of the page's content cannot be reached by the keyboard, or does not show that it is."""
        count = self.page.evaluate(_WATCH_FOCUS)
        # A field of a time has places of its own within.
        for _ in range(count + 12):
            self.page.keyboard.press("Tab")
        return self.page.evaluate("window.outOfReach()")

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
