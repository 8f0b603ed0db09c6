"""Web pages as crawlers, in a real browser: the same origin as Headwater's, and another one."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page

import docs_page
from browser.chromium import opened, script
from tests.end_to_end.conftest import a_crawler, made

JQUERY = "jquery/dist/jquery.min.js"
#: As the documentation prints them.
(WITH_JQUERY, WITH_FETCH) = (
    block.text
    for block in docs_page.Page.of("docs/reference/task.md", section="From a web page").blocks
    if block.language == "js"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with opened() as browser:
        yield browser


class _Site(BaseHTTPRequestHandler):
    """A site with one empty page."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>A shop</title>")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Another origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _page(chromium: Browser, origin: str, *, is_own: bool = False) -> Page:
    """Open an empty page of an origin, with jQuery."""
    page = chromium.new_page()
    # Of Headwater's own origin, where there is no such page. Another origin's page must really be served: Chromium
    # takes a made-up one for a page of the internet, which may not call an address of this machine.
    page.route("**/own", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.goto(f"{origin}/own" if is_own else origin)
    page.add_script_tag(content=script(JQUERY))
    return page


def _run(page: Page, script: str, **named):
    names = ", ".join(named)
    return page.evaluate(f"async ({{ {names} }}) => {{ {script} }}", named)


@pytest.mark.parametrize("script", [WITH_JQUERY, WITH_FETCH], ids=["jquery", "fetch"])
@pytest.mark.parametrize("is_same", [True, False], ids=["same origin", "another origin"])
def test_a_page_uploads_and_reports_as_the_documentation_prints_it(serve, chromium, site, script, is_same):
    served = serve()
    with served.client() as client:
        crawler = a_crawler(client)
        task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
        page = _page(chromium, served.url if is_same else site, is_own=is_same)
        _run(page, script, endpoint=task["upload"]["endpoint"])
        page.close()
        ended = client.get(f"/tasks/{task['fid']}").json()["payload"]
        lines = client.get(f"/streams/{crawler['stream']}/export").text.splitlines()
    assert (ended["code"], ended["message"], ended["docs"], ended["uploads"]) == (200, "task done", 2, 1)
    assert [json.loads(line) for line in lines] == [
        {"id": "1", "title": "The Odyssey"},
        {"id": "2", "title": "Pride and Prejudice"},
    ]


def test_jquery_nests_the_detail_of_a_report(serve, chromium, site):
    served = serve()
    with served.client() as client:
        task = made(client, f"/actions/crawlers/{a_crawler(client)['fid']}/task")
        detail = {"pages": 3, "shops": [{"name": "Süd & Ost", "open": True}, {"name": "north"}], "tags": ["a", "b c"]}
        page = _page(chromium, site)
        answer = _run(
            page,
            'return await $.post(endpoint + "/status", { code: 102, detail })',
            endpoint=task["upload"]["endpoint"],
            detail=detail,
        )
        page.close()
    assert answer["payload"]["code"] == 102
    assert answer["payload"]["detail"] == {
        "pages": "3",
        "shops": [{"name": "Süd & Ost", "open": "true"}, {"name": "north"}],
        "tags": ["a", "b c"],
    }


FAILS = """
try {
  const answer = await fetch(url, options);
  return [answer.status, answer.headers.get("ETag"), await answer.text()];
} catch (error) {
  return [error.name, null, null];
}
"""


def test_a_page_that_is_told_of_a_failure_has_changed_nothing(serve, chromium, site):
    served = serve()
    with served.client() as client:
        task = made(client, f"/actions/crawlers/{a_crawler(client)['fid']}/task")
        page = _page(chromium, site)
        key = {"Authorization": f"Bearer {served.key()}", "Content-Type": "text/plain"}
        upload = {"method": "POST", "body": '{"id": "a"}\n'}
        for url, options in [
            (f"{served.url}/actions/tasks/{task['fid']}/upload", upload | {"headers": key}),
            (f"{served.url}/actions/tasks/{task['fid']}/upload", upload),
            (f"{served.url}/streams", {"method": "POST", "body": "{}", "headers": key}),
            (f"{served.url}/tasks/{task['fid']}", {"headers": key}),
        ]:
            assert _run(page, FAILS, url=url, options=options) == ["TypeError", None, None]
        # What is wrong with an upload to the open endpoint can be read.
        endpoint = task["upload"]["endpoint"]
        status, _, text = _run(page, FAILS, url=f"{endpoint}/upload", options=upload | {"body": "{"})
        page.close()
        assert (status, "upload-broken" in text) == (400, True)
        assert client.get(f"/tasks/{task['fid']}").json()["payload"]["docs"] == 0
        assert len(client.get("/streams").json()["payload"]) == 1


def test_pages_of_an_origin_that_is_named_use_the_whole_api_with_a_key(serve, chromium, site):
    served = serve(HEADWATER_CORS_ORIGINS=f"http://shop.example,{site}")
    with served.client() as client:
        stream = made(client, "/streams")
    page = _page(chromium, site)
    options = {
        "method": "PATCH",
        "body": '{"meta": {"name": "Books"}}',
        "headers": {
            "Authorization": f"Bearer {served.key()}",
            "Content-Type": "application/merge-patch+json",
            "If-Match": '"1"',
        },
    }
    status, etag, _ = _run(page, FAILS, url=f"{served.url}/streams/{stream['fid']}", options=options)
    page.close()
    assert (status, etag) == (200, '"2"')
