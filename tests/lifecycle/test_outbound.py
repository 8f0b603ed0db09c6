import asyncio
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from headwater.lifecycle.outbound import LONGEST_ANSWER, Accepted, Again, Outbound, Refused, Target


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
    ],
)
async def test_link_local_and_metadata_addresses_are_not_called(endpoint):
    outbound = Outbound()
    outcome = await outbound.start(a_target(endpoint), {})
    await outbound.close()
    assert isinstance(outcome, Refused)
    assert "is not called" in outcome.why


async def test_a_redirect_on_the_same_host_is_followed():
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        if len(seen) == 1:
            return httpx.Response(307, headers={"Location": "/v2/task?version=3"})
        return httpx.Response(200, json={})

    outbound = Outbound(httpx.MockTransport(answer))
    assert isinstance(await outbound.start(a_target("http://ec"), {}), Accepted)
    await outbound.close()
    assert seen == ["http://ec/task?version=3", "http://ec/v2/task?version=3"]


async def test_a_redirect_without_end_is_given_up():
    outbound = Outbound(httpx.MockTransport(lambda _: httpx.Response(307, headers={"Location": "/again"})))
    outcome = await outbound.start(a_target("http://ec"), {})
    await outbound.close()
    assert isinstance(outcome, Refused)


async def test_a_host_that_does_not_exist_is_tried_again():
    outbound = Outbound()
    outcome = await outbound.start(a_target("http://no-such-host.invalid"), {})
    await outbound.close()
    assert isinstance(outcome, Again)


@pytest.mark.parametrize("endpoint", ["http://ec\u0000", "http://ec:99999", "http://"])
async def test_a_url_that_cannot_be_called_is_refused(endpoint):
    outbound = Outbound()
    outcome = await outbound.start(a_target(endpoint), {})
    await outbound.close()
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
    outbound = Outbound()
    outcome = await outbound.start(a_target(f"http://localhost:{made.server_port}"), {"fid": "x"})
    await outbound.close()
    assert isinstance(outcome, Accepted)
    assert made.hosts == [f"localhost:{made.server_port}"]


async def test_an_answer_without_end_is_not_read_to_its_end(server):
    made = server(b"[" * (4 * LONGEST_ANSWER))
    outbound = Outbound()
    outcome = await outbound.start(a_target(f"http://127.0.0.1:{made.server_port}"), {})
    await outbound.close()
    assert isinstance(outcome, Refused)
    assert len(str(outcome.detail)) < LONGEST_ANSWER


async def test_an_ec_that_never_answers_is_given_up_after_a_time(monkeypatch):
    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    monkeypatch.setattr("headwater.lifecycle.outbound.ANSWER_WITHIN", 0.05)
    outbound = Outbound(httpx.MockTransport(hang))
    outcome = await outbound.start(a_target("http://ec"), {})
    await outbound.close()
    assert isinstance(outcome, Again)
    assert "did not answer within" in outcome.why
