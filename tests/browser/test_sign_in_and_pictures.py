"""What a browser asks of others: the identity provider when somebody signs in, and pictures where they are wanted."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

from end_to_end.conftest import a_crawler, free_port, made
from oidc_server import CLIENT, SECRET, OidcServer

#: A picture of one pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class PictureServer:
    """Has a picture at each path, and remembers which were asked for, with what their pages told of themselves."""

    def __init__(self) -> None:
        self.asked: dict[str, str | None] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked[self.path] = self.headers.get("Referer")
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.send_header("Content-Length", str(len(PIXEL)))
                self.end_headers()
                self.wfile.write(PIXEL)

            def log_message(self, *_: object) -> None:
                pass

        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._listener.server_port}"
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()


@pytest.fixture
def provider() -> Iterator[OidcServer]:
    server = OidcServer()
    yield server
    server.close()


@pytest.fixture
def pictures() -> Iterator[PictureServer]:
    server = PictureServer()
    yield server
    server.close()


def test_somebody_signs_in_at_the_organizations_identity_provider(provider, serve, visit):
    port = free_port()
    served = serve(
        port=port,
        HEADWATER_PUBLIC_URL=f"http://127.0.0.1:{port}",
        HEADWATER_OIDC_ISSUER=provider.issuer,
        HEADWATER_OIDC_CLIENT_ID=CLIENT,
        HEADWATER_OIDC_CLIENT_SECRET=SECRET,
        HEADWATER_OIDC_SCOPES="crawls=write",
    )
    visitor = visit(served, also=[provider.issuer])
    page = visitor.page
    # Where somebody wanted to go is where the sign-in ends.
    page.goto("/console/runs?state=failed")
    assert visitor.barriers() == []
    page.get_by_role("link", name="Sign in with your organization").click()
    page.wait_for_url(f"{served.url}/console/runs?state=failed")
    expect(page.locator(".who")).to_contain_text("anna@example.org write")
    page.goto("/console/keys")
    expect(page.get_by_text("this needs admin")).to_be_visible()
    page.goto("/console/")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{served.url}/console/sign-in")
    provider.person["groups"] = ["others"]
    page.get_by_role("link", name="Sign in with your organization").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert visitor.barriers() == []


@pytest.mark.parametrize("width", [1400, 390])
def test_pictures_load_only_where_somebody_asks_for_them(headwater, pictures, visit, width):
    with headwater.client() as client:
        crawler = a_crawler(client)
        task = made(client, f"/actions/crawlers/{crawler['fid']}/task")["fid"]
        lines = [json.dumps({"id": f"{n}", "cover": f"{pictures.url}/{n}.png", "price": n}) for n in range(3)]
        assert client.post(f"/actions/tasks/{task}/upload", content="\n".join(lines).encode()).is_success
        made_so = client.post(f"/actions/tasks/{task}/status", json={"code": 200})
        assert made_so.is_success
    visitor = visit(headwater, also=[pictures.url])
    visitor.sign_in()
    page = visitor.page
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"/console/streams/{crawler['stream']}")
    expect(page.locator(".docs")).to_contain_text(f"{pictures.url}/1.png")
    assert pictures.asked == {}
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("Pictures of image URLs").check()
    page.get_by_role("button", name="Show these").click()
    thumbnail = page.locator("img.thumb").nth(1)
    expect(thumbnail).to_be_visible()
    # They are loaded as they come into sight.
    for picture in page.locator("img.thumb").all():
        picture.scroll_into_view_if_needed()
    page.wait_for_function("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    # Other servers learn that a picture is wanted, and not on which page of whose server.
    assert pictures.asked == {f"/{n}.png": None for n in range(3)}
    assert visitor.overflow() <= 0
    assert visitor.barriers() == []
