import asyncio
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from headwater.lifecycle.ec.client import LONGEST_ANSWER, Accepted, Again, EcClient, Refused, Target


def a_target(endpoint, **fields):
    return Target(**({"endpoint": endpoint, "headers": {}, "version": 3} | fields))


@pytest.mark.parametrize(
    ("callback", "url"),
    [
        (None, "http://ec/x/task/t1"),
        ("/jobs/7", "http://ec/x/jobs/7"),
        ("jobs/7", "http://ec/x/jobs/7"),
        ("https://other/y", "https://other/y"),
    ],
)
def test_a_callback_is_absolute_or_appended_to_the_endpoint(callback, url):
    assert a_target("http://ec/x/", callback=callback).callback_url("t1") == url


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]:80",
        "http://[fd00:ec2::254]",
        "http://[::ffff:169.254.169.254]",
        "http://100.100.100.200",
        "http://192.0.0.192",
        "http://168.63.129.16",
        "http://[64:ff9b::a83f:8110]",
        "http://[2002:a9fe:a9fe::1]",
    ],
)
async def test_link_local_and_metadata_addresses_are_not_called(endpoint):
    ec_client = EcClient()
    outcome = await ec_client.start(a_target(endpoint), {})
    await ec_client.close()
    assert isinstance(outcome, Refused)
    assert "is not called" in outcome.why


async def test_a_redirect_on_the_same_host_is_followed():
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        if len(seen) == 1:
            return httpx.Response(307, headers={"Location": "/v2/task?version=3"})
        return httpx.Response(200, json={})

    ec_client = EcClient(httpx.MockTransport(answer))
    assert isinstance(await ec_client.start(a_target("http://ec"), {}), Accepted)
    await ec_client.close()
    assert seen == ["http://ec/task?version=3", "http://ec/v2/task?version=3"]


@pytest.mark.parametrize("code", [102, 200, 500])
async def test_an_answer_is_taken_whatever_the_texts_for_people_in_it_hold(code):
    def answer(_request: httpx.Request) -> httpx.Response:
        text = rb'{"payload": {"status": {"code": %d, "message": "a\u0000b\ud83dc", "detail": {"\u0000": ["\udc00"]}}}}'
        return httpx.Response(200, content=text % code)

    ec_client = EcClient(httpx.MockTransport(answer))
    outcome = await ec_client.start(a_target("http://ec"), {})
    await ec_client.close()
    assert outcome == Accepted(callback=None, code=code, message="a\ufffdb\ufffdc", detail={"\ufffd": ["\ufffd"]})


@pytest.mark.parametrize(
    "elsewhere",
    [
        "http://ec.test:81/x",
        "https://ec.test/x",
        "http://other.test/x",
        "//ec.test:8080/x",
        "http://ec.test.evil.test/x",
        "http://jo:pw@ec.test/x",
        "ftp://ec.test/x",
        "http://[",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", ["start", "end", "token", "clear"])
async def test_a_redirect_to_another_scheme_host_or_port_carries_nothing_there(elsewhere, status, call):
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(status, headers={"Location": elsewhere})

    ec_client = EcClient(httpx.MockTransport(answer))
    headers = {"X-Key": "s3cret"}
    outcome = await {
        "start": lambda: ec_client.start(a_target("http://ec.test", headers=headers), {"token": "t0ken"}),
        "end": lambda: ec_client.end(a_target("http://ec.test", headers=headers), "t1", {"code": 410}),
        "token": lambda: ec_client.token("http://ec.test/token?uuid=1", headers),
        "clear": lambda: ec_client.clear("http://ec.test/token?uuid=1", headers),
    }[call]()
    await ec_client.close()
    assert isinstance(outcome, Refused)
    assert len(seen) == 1


@pytest.mark.parametrize("onward", ["http://ec.test:80/x", "HTTP://EC.test/x", "/x", "?a=1"])
async def test_a_redirect_to_the_same_place_in_other_words_is_followed(onward):
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["X-Key"])
        return httpx.Response(307, headers={"Location": onward}) if len(seen) == 1 else httpx.Response(200, json={})

    ec_client = EcClient(httpx.MockTransport(answer))
    assert isinstance(await ec_client.start(a_target("http://ec.test", headers={"X-Key": "k"}), {}), Accepted)
    await ec_client.close()
    assert seen == ["k", "k"]


@pytest.mark.parametrize(
    ("callback", "key"),
    [("/jobs/7", "k"), ("http://ec.test/y", "k"), ("http://ec.test:81/y", None), ("https://o.t/", None)],
)
async def test_a_callback_at_another_origin_is_called_without_the_headers(callback, key):
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("X-Key"))
        return httpx.Response(200)

    ec_client = EcClient(httpx.MockTransport(answer))
    target = a_target("http://ec.test", headers={"X-Key": "k"}, callback=callback)
    assert await ec_client.end(target, "t1", {"code": 410}) is None
    await ec_client.close()
    assert seen == [key]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://localhost:9", "http://10.0.0.1", "http://[::1]:9"])
@pytest.mark.parametrize("call", ["start", "end", "token", "clear"])
async def test_a_private_crawler_is_not_called_where_that_is_not_allowed(endpoint, call):
    ec_client = EcClient(is_private_allowed=False)
    outcome = await {
        "start": lambda: ec_client.start(a_target(endpoint), {}),
        "end": lambda: ec_client.end(a_target("http://ec.test", callback=endpoint), "t1", {"code": 410}),
        "token": lambda: ec_client.token(endpoint, {}),
        "clear": lambda: ec_client.clear(endpoint, {}),
    }[call]()
    await ec_client.close()
    assert isinstance(outcome, Refused)
    assert "crawler_private_addresses" in outcome.why


async def test_a_redirect_without_end_is_given_up():
    ec_client = EcClient(httpx.MockTransport(lambda _: httpx.Response(307, headers={"Location": "/again"})))
    outcome = await ec_client.start(a_target("http://ec"), {})
    await ec_client.close()
    assert isinstance(outcome, Refused)


async def test_a_host_that_does_not_exist_is_tried_again():
    ec_client = EcClient()
    outcome = await ec_client.start(a_target("http://no-such-host.invalid"), {})
    await ec_client.close()
    assert isinstance(outcome, Again)


@pytest.mark.parametrize("endpoint", ["http://ec\u0000", "http://ec:99999", "http://"])
async def test_a_url_that_cannot_be_called_is_refused(endpoint):
    ec_client = EcClient()
    outcome = await ec_client.start(a_target(endpoint), {})
    await ec_client.close()
    assert isinstance(outcome, Refused | Again)


class _Server(HTTPServer):
    def __init__(self, content: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.server.hosts.append(self.headers["Host"])
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_args) -> None:
                pass

        self.hosts = []
        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def server():
    started = []

    def start(content: bytes) -> _Server:
        made = _Server(content)
        threading.Thread(target=made.serve_forever, daemon=True).start()
        started.append(made)
        return made

    yield start
    for made in started:
        made.shutdown()
        made.server_close()


async def test_a_real_ec_is_called_by_its_name_at_any_of_its_addresses(server):
    made = server(b'{"success": true}')
    ec_client = EcClient()
    outcome = await ec_client.start(a_target(f"http://localhost:{made.server_port}"), {"fid": "x"})
    await ec_client.close()
    assert isinstance(outcome, Accepted)
    assert made.hosts == [f"localhost:{made.server_port}"]


async def test_an_answer_without_end_is_not_read_to_its_end(server):
    made = server(b"[" * (4 * LONGEST_ANSWER))
    ec_client = EcClient()
    outcome = await ec_client.start(a_target(f"http://127.0.0.1:{made.server_port}"), {})
    await ec_client.close()
    assert isinstance(outcome, Refused)
    assert len(str(outcome.detail)) < LONGEST_ANSWER


async def test_an_ec_that_never_answers_is_given_up_after_a_time(monkeypatch):
    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    monkeypatch.setattr("headwater.lifecycle.ec.client.ANSWER_WITHIN", 0.05)
    ec_client = EcClient(httpx.MockTransport(hang))
    outcome = await ec_client.start(a_target("http://ec"), {})
    await ec_client.close()
    assert isinstance(outcome, Again)
    assert "did not answer within" in outcome.why
