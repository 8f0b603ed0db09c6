import pytest

from headwater.api.middleware.request_body import RequestBodyMiddleware
from headwater.domain.errors import RequestTooLarge


async def _serve(app, pieces, *, path="/streams", headers=()):
    """Serve one request whose body comes in those pieces; return what was answered, and how many were read."""
    waiting = [
        {"type": "http.request", "body": piece, "more_body": place + 1 < len(pieces)}
        for place, piece in enumerate(pieces)
    ]
    answered, read = [], 0

    async def receive():
        nonlocal read
        read += 1
        return waiting.pop(0)

    async def send(message):
        answered.append((message["type"], read))

    scope = {"type": "http", "path": path, "http_version": "1.1", "headers": [(b"host", b"x"), *headers]}
    await RequestBodyMiddleware(app, max_request=10, request_timeout=60)(scope, receive, send)
    return answered


async def _refuses(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 409, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _reads(_scope, receive, send):
    while (await receive())["more_body"]:
        pass
    await _refuses(_scope, receive, send)


async def test_what_is_still_being_sent_is_read_before_an_early_answer():
    assert await _serve(_refuses, [b"x"] * 5) == [("http.response.start", 5), ("http.response.body", 5)]


async def test_a_client_that_asks_before_it_sends_is_answered_at_once():
    answered = await _serve(_refuses, [b"x"] * 5, headers=[(b"expect", b"100-continue")])
    assert answered == [("http.response.start", 0), ("http.response.body", 0)]


async def test_a_body_over_the_limit_is_refused_unless_it_is_an_upload():
    with pytest.raises(RequestTooLarge):
        await _serve(_reads, [b"x" * 6] * 2)
    answered = await _serve(_reads, [b"x" * 6] * 2, path="/actions/tasks/a.b/upload")
    assert answered[0] == ("http.response.start", 2)
