"""A browser that is signed in to the console, without a browser."""

import re
from html.parser import HTMLParser

import httpx
import pytest

from headwater.catalog import keys
from headwater.catalog.keys import Scope


class Browser:
    """What a person does with pages: opens them, sends their forms."""

    def __init__(self, app) -> None:
        self.app = app
        # What is slow on this machine is not the subject of most tests.
        app.state.console.deferred.patience = 60
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://headwater.test"
        )
        self.csrf = ""

    @property
    def services(self):
        return self.app.state.services

    async def key(self, *scopes: Scope, name: str = "anna") -> tuple[keys.Key, str]:
        return await self.services.db.write(keys.add, name=name, scopes=scopes, at=self.services.clock())

    async def sign_in(self, secret: str) -> httpx.Response:
        answer = await self.client.post("/console/sign-in", data={"key": secret})
        if answer.status_code == 303:
            self.csrf = re.search(r'data-csrf="([^"]+)"', (await self.client.get("/console/keys")).text)[1]
        return answer

    async def open(self, path: str, *, status: int = 200) -> str:
        answer = await self.client.get(path)
        assert answer.status_code == status, words_of(answer.text)
        return answer.text

    async def send(self, path: str, *, status: int = 303, **fields) -> httpx.Response:
        answer = await self.client.post(path, data={"csrf": self.csrf, **fields})
        assert answer.status_code == status, words_of(answer.text)
        return answer


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words_of(page: str) -> str:
    """What a page says."""
    parser = _Words()
    parser.feed(page)
    return " ".join(" ".join(parser.words).split())


@pytest.fixture
def say():
    return words_of


@pytest.fixture
async def stranger(api):
    """A browser that is not signed in."""
    browser = Browser(api.app)
    yield browser
    await browser.client.aclose()


@pytest.fixture
async def browser(stranger):
    """A browser that is signed in with an admin key."""
    _, secret = await stranger.key(Scope.ADMIN)
    await stranger.sign_in(secret)
    return stranger


class Shop:
    """A crawler of a shop, its stream and its runs."""

    def __init__(self, api, crawler: dict, external: str) -> None:
        self.api = api
        self.fid = crawler["fid"]
        self.stream = crawler["stream"]
        self.external = external

    async def run(self, body: bytes, *, code: int | None = 200, lenient: bool = False, **report) -> str:
        task = (await self.api.post(f"/actions/crawlers/{self.fid}/task")).json()["payload"]["fid"]
        headers = {"Prefer": "handling=lenient"} if lenient else {}
        uploaded = await self.api.post(f"/actions/tasks/{task}/upload", content=body, headers=headers)
        assert uploaded.status_code == 200, uploaded.text
        if code is not None:
            said = await self.api.post(f"/actions/tasks/{task}/status", json={"code": code, **report})
            assert said.status_code == 200, said.text
        return task

    async def docs(self) -> dict[str, dict]:
        shown = (await self.api.get(f"/streams/{self.stream}/docs")).json()["payload"]
        return {each["id"]: each["doc"] for each in shown}


@pytest.fixture
def a_shop(api):
    async def make(name: str = "Northern shop", *, external: dict | None = None, **fields) -> Shop:
        definition = {"docIdField": "id", "meta": {"name": f"Pages of {name}"}} | (external or {})
        registered = (await api.post("/externals", json=definition)).json()["payload"]["fid"]
        stream = (await api.post("/streams", json={"meta": {"name": "Books"}})).json()["payload"]["fid"]
        meta = {"name": name, "links": [{"from": {"type": "streams", "fid": stream}}]}
        made = await api.post(f"/actions/externals/{registered}/crawler", json={"meta": meta} | fields)
        assert made.status_code == 201, made.text
        return Shop(api, made.json()["payload"], registered)

    return make
