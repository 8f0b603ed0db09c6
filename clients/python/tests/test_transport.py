"""Asking questions: blocking and awaiting, both by the same rules."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx
import pytest

from headwater_client import AsyncHeadwater, Headwater, Unavailable
from headwater_client.errors import EventForgotten, Internal, NotAuthenticated, NotFound, Problem

URL = "https://headwater.example.org"
FID = "0197f3a0c1d27000a1b2c3d4e5f60718"
Answer = Callable[[httpx.Request], httpx.Response]


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that breaks off after its first pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        raise httpx.ReadError("cut")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        raise httpx.ReadError("cut")


class Asked:
    """Answers from a list, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _blocking(asked: Asked, **options: float) -> Headwater:
    headwater = Headwater(URL, "key", transport=httpx.MockTransport(asked), **options)
    headwater.driver.sleep = lambda _seconds: None
    return headwater


def _awaiting(asked: Asked, **options: float) -> AsyncHeadwater:
    async def at_once(_seconds: float) -> None: ...

    headwater = AsyncHeadwater(URL, "key", transport=httpx.MockTransport(asked), **options)
    headwater.driver.sleep = at_once
    return headwater


def _stream() -> httpx.Response:
    return httpx.Response(200, json={"payload": {"fid": FID, "type": "streams", "meta": {}, "stream_version": 3}})


def _page(*ids: str, cursor: str | None = None) -> httpx.Response:
    documents = [{"id": name, "task": FID, "doc": {}} for name in ids]
    return httpx.Response(200, json={"payload": documents, "next_cursor": cursor})


def _lines(*lines: dict) -> bytes:
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def _upsert(name: str) -> dict:
    return {"id": name, "op": "upsert", "doc": {"text": "a\u2028b\x85c"}, "task": FID}


async def _all(items: AsyncIterator) -> list:
    return [item async for item in items]


async def test_what_is_harmless_is_tried_again():
    def asked() -> Asked:
        failures = (httpx.ConnectError("refused"), httpx.ReadError("reset"), httpx.Response(502), httpx.Response(429))
        return Asked(*failures, _stream())

    assert _blocking(asked()).streams.get(FID).stream_version == 3
    stream = await _awaiting(asked()).streams.get(FID)
    assert stream.stream_version == 3


@pytest.mark.parametrize("failure", [httpx.ReadError("reset"), httpx.ReadTimeout("slow")])
async def test_what_may_have_been_done_is_not_done_again(failure):
    asked = Asked(failure, failure)
    with pytest.raises(Unavailable, match="was tried once"):
        _blocking(asked).tasks.create(FID)
    with pytest.raises(Unavailable, match="was tried once"):
        await _awaiting(asked).tasks.create(FID)
    assert len(asked.requests) == 2


async def test_an_error_of_the_servers_is_raised_by_its_name():
    problem = {"type": "https://headwater.dev/problems/internal", "detail": "it failed", "request_id": "5f2c"}
    asked = Asked(httpx.Response(500, json=problem), httpx.Response(401, json={"type": "x/not-authenticated"}))
    with pytest.raises(Internal) as raised:
        _blocking(asked).tasks.create(FID)
    assert (raised.value.status, raised.value.request_id, str(raised.value)) == (500, "5f2c", "it failed")
    with pytest.raises(NotAuthenticated):
        await _awaiting(asked).streams.get(FID)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b""])
def test_an_error_of_a_proxy_is_told_by_its_status(body):
    with pytest.raises(Problem, match="403 Forbidden") as raised:
        _blocking(Asked(httpx.Response(403, content=body))).streams.get(FID)
    assert type(raised.value) is Problem


async def test_a_list_is_walked_over_all_its_pages():
    def pages() -> list[httpx.Response]:
        return [_page("a", "b", cursor="next"), httpx.Response(503), _page("c")]

    asked = Asked(*pages(), *pages())
    assert [found.id for found in _blocking(asked).streams.docs(FID)] == ["a", "b", "c"]
    assert [found.id for found in await _all(_awaiting(asked).streams.docs(FID))] == ["a", "b", "c"]
    assert [request.url.params.get("cursor") for request in asked.requests] == [None, "next", "next"] * 2


def test_a_list_is_asked_for_only_as_far_as_it_is_walked():
    asked = Asked(_page("a", cursor="next"))
    documents = _blocking(asked).streams.docs(FID)
    assert asked.requests == []
    assert next(documents).id == "a"
    assert len(asked.requests) == 1


async def test_an_error_in_a_list_is_raised():
    missing = {"type": "https://headwater.dev/problems/not-found"}
    with pytest.raises(NotFound):
        list(_blocking(Asked(httpx.Response(404, json=missing))).streams.docs(FID))
    with pytest.raises(NotFound):
        await _all(_awaiting(Asked(httpx.Response(404, json=missing))).streams.docs(FID))


async def test_changes_go_on_after_a_break_from_the_last_version_that_was_whole():
    def answers() -> list[httpx.Response]:
        return [
            httpx.Response(200, content=_lines(_upsert("a"), {"last_version": 4})),
            httpx.Response(200, stream=Broken(_lines(_upsert("b")), b'{"id":')),
            httpx.Response(200, content=_lines(_upsert("b"), _upsert("c"), {"last_version": 6})),
            httpx.Response(200, content=_lines({"last_version": 6})),
        ]

    asked = Asked(*answers())
    found = [(change.op, change.id or change.version) for change in _blocking(asked).streams.changes(FID, since=3)]
    expected = [("upsert", "a"), ("version", 4), ("upsert", "b"), ("upsert", "b"), ("upsert", "c"), ("version", 6)]
    assert found == expected
    assert [request.url.params["since"] for request in asked.requests] == ["3", "4", "4", "6"]
    changes = await _all(_awaiting(Asked(*answers())).streams.changes(FID, since=3))
    assert [(change.op, change.id or change.version) for change in changes] == expected


def test_who_follows_waits_for_what_is_to_come():
    asked = Asked(
        httpx.Response(200, content=_lines({"last_version": 3})),
        httpx.Response(200, content=_lines({"last_version": 3})),
        httpx.Response(200, content=_lines(_upsert("a"), {"last_version": 4})),
    )
    changes = _blocking(asked).streams.changes(FID, since=3, follow=True)
    assert (next(changes).id, next(changes).version) == ("a", 4)
    assert [request.url.params.get("feed") for request in asked.requests] == [None, "longpoll", "longpoll"]


async def test_an_export_is_a_file_once_it_is_whole(tmp_path):
    asked = Asked(
        httpx.Response(200, stream=Broken(b'{"id":')),
        httpx.Response(200, content=b'{"id":1}\n'),
        httpx.Response(200, content=b"id\n1\n"),
    )
    target = tmp_path / "books.ndjson"
    assert _blocking(asked).streams.save(FID, target) == target
    assert await _awaiting(asked).streams.save(FID, tmp_path / "books.csv") == tmp_path / "books.csv"
    assert [request.url.params["format"] for request in asked.requests] == ["ndjson", "ndjson", "csv"]
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        "books.ndjson": b'{"id":1}\n',
        "books.csv": b"id\n1\n",
    }


async def test_an_export_says_what_it_is_to_hold(tmp_path):
    asked = Asked(*[httpx.Response(200, content=b"x") for _ in range(3)])
    wanted = {"where": ["a>1", "b=2"], "q": "x y", "fields": ["id", "a,b", ""], "document": False, "columns": "infer"}
    assert _blocking(asked).streams.save(FID, tmp_path / "books.parquet", **wanted)
    assert b"".join(_blocking(asked).streams.export(FID, format="csv", where="a>1", defuse=True, bom=True)) == b"x"
    assert await _awaiting(asked).streams.save(FID, tmp_path / "books.xlsx") == tmp_path / "books.xlsx"
    first, second, third = [dict(request.url.params.multi_items()) for request in asked.requests]
    assert asked.requests[0].url.params.get_list("where") == ["a>1", "b=2"]
    assert {name: value for name, value in first.items() if name != "where"} == {
        "format": "parquet",
        "columns": "infer",
        "q": "x y",
        "fields": 'id,"a,b",',
        "document": "false",
    }
    assert second == {"format": "csv", "where": "a>1", "defuse": "true", "bom": "true"}
    assert third == {"format": "xlsx"}


@pytest.mark.parametrize("name", ["books.xls", "books.json", "books.csv.gz"])
def test_an_export_is_not_written_under_the_name_of_another_format(tmp_path, name):
    with pytest.raises(ValueError, match="no format is known"):
        _blocking(Asked()).streams.save(FID, tmp_path / name)


def test_an_export_that_fails_leaves_the_former_file(tmp_path):
    target = tmp_path / "books.ndjson"
    target.write_bytes(b"former\n")
    with pytest.raises(Unavailable):
        _blocking(Asked(httpx.Response(200, stream=Broken(b"half"))), retry_for=0).streams.save(FID, target)
    assert target.read_bytes() == b"former\n"


async def test_an_export_in_pieces_that_breaks_off_is_not_begun_anew():
    pieces = _blocking(Asked(httpx.Response(200, stream=Broken(b"half")))).streams.export(FID)
    assert next(pieces) == b"half"
    with pytest.raises(Unavailable, match="cut"):
        next(pieces)
    with pytest.raises(Unavailable, match="cut"):
        await _all(_awaiting(Asked(httpx.Response(200, stream=Broken(b"half")))).streams.export(FID))


def test_an_id_is_quoted():
    asked = Asked(httpx.Response(200, json={"payload": {"id": "a/b?c#d", "task": FID, "doc": {}}}))
    _blocking(asked).streams.doc(FID, "a/b?c#d")
    assert asked.requests[0].url.raw_path == f"/streams/{FID}/doc?id=a%2Fb%3Fc%23d".encode()


def test_a_filter_takes_moments_and_tasks():
    task = httpx.Response(
        200, json={"payload": {"fid": FID, "type": "tasks", "meta": {}, "started_at": "2026-03-01T12:00:00Z"}}
    )
    asked = Asked(task, httpx.Response(200, json={"payload": {"tasks": [FID], "stream_version": 4}}))
    headwater = _blocking(asked)
    found = headwater.tasks.get(FID)
    headwater.streams.revert(FID, since=found.started_at, tasks=[found])
    assert json.loads(asked.requests[1].content) == {"since": "2026-03-01T12:00:00+00:00", "tasks": [FID]}


def test_the_names_of_methods_are_their_own():
    headwater = _blocking(Asked())
    assert headwater.streams.docs.__name__ == "docs"
    assert "in id order" in (headwater.streams.docs.__doc__ or "")


def test_the_key_shows_nowhere():
    headwater = Headwater(URL, "hw_secret", transport=httpx.MockTransport(Asked(_stream())))
    assert "hw_secret" not in repr(headwater) + repr(headwater.streams) + repr(headwater.streams.get(FID))


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_the_awaited_client_runs_on_both_loops(loop):
    async def ask() -> int:
        async with AsyncHeadwater(URL, "key", transport=httpx.MockTransport(Asked(_stream()))) as headwater:
            return (await headwater.streams.get(FID)).stream_version

    assert anyio.run(ask, backend=loop) == 3


async def _each(items: AsyncIterator, do: Callable[[Any], object]) -> None:
    async for item in items:
        do(item)


def _block(number: int) -> bytes:
    event = {"id": number, "at": "2026-03-01T12:00:00Z", "type": "task.done", "task": FID, "data": {"code": 200}}
    return b"id: %d\nevent: task.done\ndata: %b\n\n" % (number, json.dumps(event).encode())


async def test_events_go_on_behind_the_last_one_whatever_breaks():
    def answers() -> list[httpx.Response | Exception]:
        forgotten = {"type": "https://headwater.dev/problems/event-forgotten", "status": 400, "detail": "gone"}
        half = _block(8).split(b"data")[0] + b"data: {"
        return [
            httpx.Response(200, stream=Broken(b"retry: 1000\nid: 6\n\n", _block(7), b": keep-alive\n\n", half)),
            httpx.ConnectError("refused"),
            httpx.Response(503),
            # The whole line of the event, and not the end of its block.
            httpx.Response(200, stream=Broken(b"retry: 1000\nid: 7\n\n" + _block(8) + _block(9)[:-1])),
            httpx.Response(200, stream=Broken(b"retry: 1000\nid: 8\n\n" + _block(9), b": keep-alive\nid: 20\n\n")),
            # This one ends as it should, as when the server is stopped.
            httpx.Response(200, content=b"retry: 1000\nid: 20\n\n" + _block(21)),
            httpx.Response(400, json=forgotten),
        ]

    def check(asked: Asked, told: list[int]) -> None:
        assert told == [7, 8, 9, 21]
        held = [request.headers.get("Last-Event-ID") for request in asked.requests]
        assert held == [None, "7", "7", "7", "8", "20", "21"]
        assert {request.url.params["type"] for request in asked.requests} == {"task.done"}

    asked, told = Asked(*answers()), []
    with pytest.raises(EventForgotten):
        told.extend(event.id for event in _blocking(asked).events(type="task.done"))
    check(asked, told)
    asked, told = Asked(*answers()), []
    with pytest.raises(EventForgotten):
        await _each(_awaiting(asked).events(type="task.done"), lambda event: told.append(event.id))
    check(asked, told)


def test_events_end_when_they_are_left():
    asked = Asked(httpx.Response(200, stream=Broken(b"id: 6\n\n", _block(7), _block(8))))
    for event in _blocking(asked).events(last_event_id=6, stream=FID):
        assert (event.id, event.task, event.data["code"]) == (7, FID, 200)
        break
    (request,) = asked.requests
    assert (request.headers["Last-Event-ID"], request.url.params["stream"]) == ("6", FID)


def test_events_that_there_are_come_page_by_page():
    event = json.loads(_block(7).split(b"data: ")[1])
    asked = Asked(
        httpx.Response(200, json={"payload": [event], "next_cursor": "x", "last_event_id": 7}),
        httpx.Response(200, json={"payload": [event], "next_cursor": None, "last_event_id": 9}),
    )
    since = datetime(2026, 3, 1, tzinfo=UTC)
    told = _blocking(asked).events(follow=False, type=["task", "stream"], since=since)
    assert [event.at for event in told] == [datetime(2026, 3, 1, 12, tzinfo=UTC)] * 2
    assert asked.requests[0].url.params.get_list("type") == ["task", "stream"]
    assert asked.requests[0].url.params["since"] == "2026-03-01T00:00:00+00:00"
    assert [request.url.params.get("cursor") for request in asked.requests] == [None, "x"]
