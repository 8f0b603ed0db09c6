"""The console behind a proxy that serves it below a path, and removes the path."""

import html
import re

import httpx
import pytest

from headwater.catalog.keys import Scope
from headwater.settings import Settings

ROOT = "/headwater"
ORIGIN = "http://headwater.test"
URL = re.compile(r'\s(href|src|action|formaction|hx-get|hx-post|hx-sse:connect)="([^"]*)"')
#: What is loaded by visiting a page, or following its links; streams of events would never end.
OPENED = {"href", "src", "hx-get"}


class Proxy:
    """Passes on what is below the path, without it."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        assert scope["path"].startswith(f"{ROOT}/"), scope["path"]
        raw_path = scope["raw_path"].removeprefix(ROOT.encode())
        await self.app({**scope, "path": scope["path"].removeprefix(ROOT), "raw_path": raw_path}, receive, send)


@pytest.fixture
def settings(settings):
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return Settings(**given | {"public_url": f"{ORIGIN}{ROOT}/"})


@pytest.fixture
async def stranger(stranger):
    await stranger.client.aclose()
    transport = httpx.ASGITransport(Proxy(stranger.app), raise_app_exceptions=False)
    stranger.client = httpx.AsyncClient(transport=transport, base_url=f"{ORIGIN}{ROOT}")
    return stranger


async def test_all_that_pages_lead_to_is_below_the_path(api, browser, a_shop):
    shop = await a_shop()
    task = await shop.run(b'{"id": "a b", "n": 1}\n')
    await shop.run(b'{"id": "a b", "n": 2}\nnone\n', lenient=True)
    await api.post("/webhooks", json={"url": "https://shop.example/hook", "types": ["task"]})
    to_open = [f"{ROOT}/console/", f"{ROOT}/docs", f"{ROOT}/console/nowhere", f"{ROOT}/console/runs/{task}/undo"]
    seen: set[str] = set()
    while to_open:
        url = to_open.pop()
        if url in seen:
            continue
        seen.add(url)
        answer = await browser.client.get(f"{ORIGIN}{url}")
        assert answer.status_code in {200, 303, 404 if url.endswith("/nowhere") else 200}, url
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        for name, quoted in URL.findall(answer.text):
            found = html.unescape(quoted).partition("#")[0]
            if not found or re.match(r"[a-z]+:", found):
                continue
            # The API's reference alone is written relative to its own page.
            found = re.sub(r"^\./", f"{ROOT}/", found) if url == f"{ROOT}/docs" else found
            assert found.startswith(f"{ROOT}/"), (url, name, quoted)
            # One of a kind is enough: filters of lists make ever more of them.
            if name in OPENED and len(found.partition("?")[2]) < 60:
                to_open.append(found)
    assert len(seen) > 40
    assert any("/document?" in url for url in seen)


async def test_forms_lead_back_below_the_path_and_cookies_are_for_it_alone(browser, a_shop):
    shop = await a_shop()
    task = await shop.run(b'{"id": 1}\n')
    assert {cookie.path for cookie in browser.client.cookies.jar} == {f"{ROOT}/console"}
    undone = await browser.send(f"/console/runs/{task}/undo")
    assert undone.headers["location"] == f"{ROOT}/console/runs/{task}"
    assert await shop.docs() == {}
    out = await browser.send("/console/sign-out")
    assert out.headers["location"] == f"{ROOT}/console/sign-in"
    assert not browser.client.cookies


async def test_somebody_who_is_not_signed_in_comes_back_to_the_page_that_was_asked_for(stranger):
    led = await stranger.client.get("/console/streams", params={"after": "x"})
    assert led.headers["location"] == f"{ROOT}/console/sign-in?next=%2Fconsole%2Fstreams%3Fafter%3Dx"
    _, secret = await stranger.key(Scope.READ)
    entered = await stranger.client.post("/console/sign-in", data={"key": secret, "next": "/console/streams?after=x"})
    assert entered.headers["location"] == f"{ROOT}/console/streams?after=x"
    part = await stranger.client.get("/console/jump", params={"q": "x"}, headers={"HX-Request": "true"})
    assert part.status_code == 200
    stranger.client.cookies.clear()
    part = await stranger.client.get("/console/jump", params={"q": "x"}, headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (401, f"{ROOT}/console/sign-in")


async def test_browsers_are_led_from_the_root_to_the_console(stranger):
    for path, headers in (("/", {"Accept": "text/html"}), ("/console", {})):
        led = await stranger.client.get(path, headers=headers)
        assert led.headers["location"] == f"{ROOT}/console/"
