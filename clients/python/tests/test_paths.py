"""An id reaches its document, and no value in a path makes another path of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from headwater_client import Headwater, TaskWriter, Unsendable
from headwater_client.errors import NotFound

URL = "https://headwater.example.org/base"
FID = "0197f3a0c1d27000a1b2c3d4e5f60718"
OTHERS = ["", ".", "..", "a/../b", "/", "..\\x", "x/docs/y", "\ud800"]
#: Each call that has a fid in its path, by the part that it belongs to.
CALLS = {
    "streams": ["get", "delete", "log", "changes", "revert", "restore", "preview_revert", "preview_restore", "docs"],
    "externals": ["get", "delete", "versions", "credentials", "login"],
    "crawlers": ["get", "delete"],
    "tasks": ["get", "delete", "restore", "stop", "publish", "attempts", "docs", "rejects", "replay", "diff", "create"],
    "webhooks": ["get", "delete", "rotate_secret", "test", "deliveries", "replay"],
}


class Asked:
    """Keeps what it was asked, and knows no document."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(404, json={"type": "https://headwater.dev/problems/not-found"})


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def headwater(asked) -> Headwater:
    return Headwater(URL, "key", transport=httpx.MockTransport(asked))


def _made(call, *args):
    """Make a call; one that gives a list is made when the list is walked."""
    answer = call(*args)
    return list(answer) if isinstance(answer, Iterator) else answer


def _target(asked: Asked, call, *args) -> tuple[str, str | None]:
    with pytest.raises(NotFound):
        _made(call, *args)
    (request,) = asked.requests
    assert request.url.raw_path.startswith(b"/base/streams/")
    return request.url.raw_path.partition(b"?")[0].decode().removeprefix(
        f"/base/streams/{FID}"
    ), request.url.params.get("id")


@pytest.mark.parametrize("doc_id", ["a", "sku-1", "A_b.c~d", "a..b", "0", "-"])
def test_a_plain_id_stands_in_the_path(asked, headwater, doc_id):
    assert _target(asked, headwater.streams.doc, FID, doc_id) == (f"/docs/{doc_id}", None)


@pytest.mark.parametrize(
    "doc_id",
    [
        *("", ".", "..", "...", ".a", "history", "a/history", "a/b", "/", "//", "a\\b", "%2F", "%2e%2e", "?", "a?id=b"),
        *("#", "a&b", "a+b", " ", "a b", "\n", "\0", "é", "😀", "sha256:00", "https://example.org/a/../b?c#d"),
    ],
)
def test_any_other_id_stands_beside_it(headwater, asked, doc_id):
    for call, path in (
        (headwater.streams.doc, "/doc"),
        (headwater.streams.history, "/doc/history"),
        (headwater.streams.erase, "/doc"),
    ):
        assert _target(asked, call, FID, doc_id) == (path, doc_id)
        asked.requests.clear()


@pytest.mark.parametrize("call", ["doc", "history", "erase"])
def test_an_id_that_is_no_text_is_refused(asked, headwater, call):
    with pytest.raises(Unsendable, match="surrogate"):
        _made(getattr(headwater.streams, call), FID, "x\ud800")
    assert asked.requests == []


@pytest.mark.parametrize(("part", "call"), [(part, call) for part, calls in CALLS.items() for call in calls])
@pytest.mark.parametrize("value", OTHERS)
def test_a_fid_makes_no_other_path(asked, headwater, part, call, value):
    with pytest.raises(Unsendable):
        # A list is asked for when it is walked.
        list(getattr(getattr(headwater, part), call)(value))
    assert asked.requests == []


@pytest.mark.parametrize("value", OTHERS)
def test_nor_does_a_second_value(asked, headwater, value):
    calls = [
        lambda: headwater.externals.credential(FID, value),
        lambda: headwater.externals.delete_credential(FID, value),
        lambda: headwater.tasks.status(value, 200),
        lambda: headwater.tasks.update(value, {}),
        lambda: headwater.streams.doc(value, "a"),
        lambda: headwater.streams.erase(value, "a"),
        lambda: headwater.writer(value),
    ]
    for call in calls:
        with pytest.raises(Unsendable):
            call()
    assert asked.requests == []


@pytest.mark.parametrize("name", ["", ".", "..", "a%2Fb", "a b"])
def test_an_endpoint_names_a_task(name):
    with pytest.raises(ValueError, match="a task's endpoint looks like"):
        TaskWriter(f"{URL}/actions/tasks/{name}", "token")


def test_a_parameter_that_is_no_text_is_refused(asked, headwater):
    with pytest.raises(Unsendable, match="cannot be sent"):
        list(headwater.streams.docs(FID, q="\ud800"))
    assert asked.requests == []
