"""Sending over a real network, to receivers that behave as badly as they can."""

import asyncio
import contextlib

import pytest

from builders import AT
from headwater.lifecycle.webhooks.client import LONGEST_ANSWER, WebhookClient

HEADERS = {"webhook-id": "d" * 32}


@pytest.fixture
async def receiver():
    """Starts a server that answers each connection by a function of what it was sent."""
    started, serving = [], set()

    async def start(answer) -> str:
        async def serve(reader, writer):
            serving.add(asyncio.current_task())
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await answer(head + await reader.readexactly(length), writer)
                await writer.drain()
            writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        started.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?a=1"

    yield start
    for server in started:
        server.close()
    for each in serving:
        each.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    await asyncio.sleep(0)  # for what was aborted to be closed


@pytest.fixture
async def webhook_client():
    made = WebhookClient(is_private_allowed=True, answer_within=0.5)
    yield made
    await made.close()


async def _send(webhook_client, url):
    return await webhook_client.send(url, HEADERS, '{"type":"task.done"}', at=AT)


async def test_a_message_is_posted_as_it_is(receiver, webhook_client):
    sent = []

    async def answer(request, writer):
        sent.append(request)
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok")

    outcome = await _send(webhook_client, await receiver(answer))
    assert (outcome.status, outcome.answer, outcome.error) == (202, "ok", None)
    assert sent[0].startswith(b"POST /hook?a=1 HTTP/1.1\r\n")
    assert sent[0].endswith(b'\r\n\r\n{"type":"task.done"}')
    assert b"\r\nwebhook-id: " + b"d" * 32 in sent[0].lower()


async def test_one_that_hangs_is_given_up_after_a_time(receiver, webhook_client):
    async def answer(_request, _writer):
        await asyncio.sleep(5)

    outcome = await _send(webhook_client, await receiver(answer))
    assert (outcome.status, outcome.error) == (None, "no answer came within 0.5 seconds")
    assert 400 < outcome.duration_ms < 4000


async def test_one_that_sends_a_header_at_a_time_is_given_up_after_that_time_too(receiver, webhook_client):
    async def answer(_request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for n in range(100):
            writer.write(b"X-%d: y\r\n" % n)
            await writer.drain()
            await asyncio.sleep(0.1)

    assert (await _send(webhook_client, await receiver(answer))).error == "no answer came within 0.5 seconds"


async def test_who_has_answered_has_answered_though_the_rest_does_not_come(receiver, webhook_client):
    async def answer(_request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(5)

    outcome = await _send(webhook_client, await receiver(answer))
    assert (outcome.status, outcome.answer, outcome.error) == (200, "half", None)


async def test_of_an_answer_without_end_the_beginning_is_kept(receiver, webhook_client):
    async def answer(_request, writer):
        writer.write(b"HTTP/1.1 500 No\r\n\r\n")
        for _ in range(10_000):
            writer.write(b"\0\xff" * 512)
            await writer.drain()

    outcome = await _send(webhook_client, await receiver(answer))
    assert (outcome.status, len(outcome.answer)) == (500, LONGEST_ANSWER)
    assert "\0" not in outcome.answer


async def test_a_redirect_is_not_followed(receiver, webhook_client):
    called = []

    async def other(request, writer):
        called.append(request)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    elsewhere = await receiver(other)

    async def answer(_request, writer):
        writer.write(f"HTTP/1.1 307 Go\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n".encode())

    outcome = await _send(webhook_client, await receiver(answer))
    assert (outcome.status, outcome.error) == (307, "the answer was 307 Temporary Redirect; redirects are not followed")
    assert called == []


async def test_one_that_is_not_there_or_speaks_something_else_is_an_outcome(receiver, webhook_client):
    async def answer(_request, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")

    garbled = await _send(webhook_client, await receiver(answer))
    away = await _send(webhook_client, "http://127.0.0.1:1/")
    assert [each.status for each in (garbled, away)] == [None, None]
    assert all(each.error.startswith("it cannot be reached: ") for each in (garbled, away))


async def test_a_metadata_service_is_not_called_whatever_is_allowed(webhook_client):
    outcome = await _send(webhook_client, "http://169.254.169.254/latest/meta-data")
    assert outcome.error == "169.254.169.254 is at 169.254.169.254, a metadata address, which is not called"
