from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from headwater_client import Headwater
from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.push.files import File
from headwater_client.cli.push.start import META, begun
from headwater_client.models.objects import Crawler

FID, TOKEN = "a" * 32, "token"
CRAWLER = Crawler.read({"fid": "c" * 32})


def _task(**fields) -> dict:
    moment = "2026-01-01T00:00:00Z"
    blank = {"fid": FID, "meta": {}, "attempt": 1, "docs": 0, "bytes": 0, "origin": "cli", "params": {}, "version": 1}
    return {**blank, "state": "running", "created_at": moment, "updated_at": moment, "started_at": moment, **fields}


class Server:
    """A Headwater with one task, open or not."""

    def __init__(self, *, open_: dict | None) -> None:
        self.task = open_
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.path}")
        if request.url.path.endswith("/stop"):
            self.task = None
            return self._answer(200, _task(state="stopped"))
        if request.url.path.startswith("/actions/crawlers/"):
            if self.task is not None:
                return self._answer(208, self.task)
            self.task = _task()
            return self._answer(201, {**self.task, "upload": {"endpoint": f"http://x/{FID}", "token": TOKEN}})
        if request.method == "PATCH":
            self.task = {**self.task, "meta": {**self.task["meta"], **json.loads(request.content)["meta"]}}
        return self._answer(200, self.task)

    def _answer(self, status: int, payload: dict) -> httpx.Response:
        return httpx.Response(status, json={"success": True, "payload": payload, "version": 1})


@pytest.fixture
def file(tmp_path) -> File:
    path = tmp_path / "books.ndjson"
    path.write_text('{"id": 1}\n')
    return File.named(str(path), None, None)


def _begun(server: Server, file: File, params: dict | None = None, *, anew: bool = False, version: int | None = None):
    with Headwater("http://x", "key", transport=httpx.MockTransport(server)) as headwater:
        return begun(headwater, CRAWLER, file, params or {}, anew=anew, version=version)


def _same(file: File, /, **more) -> dict:
    return {META: {**file.identity(), "attempt": 1, **more}}


def test_a_new_task_says_what_is_pushed_to_it(file):
    server = Server(open_=None)
    begin = _begun(server, file)
    assert begin.token == TOKEN
    assert begin.task.meta[META] == {**file.identity(), "attempt": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"docs": 7, "same": {}},
        {"docs": 7, "same": {"file": "by another name"}},
        {"docs": 0},  # begun by the command line, which was ended before it could say more
        {"docs": 0, "attempt": 2, "same": {"digest": "of the former attempt"}},
        {"docs": 7, "same": {}, "params": {"shop": "north", "secret": "********"}},
    ],
)
def test_an_open_task_that_waits_for_the_file_is_gone_on_with(file, fields):
    same = fields.pop("same", None)
    open_ = _task(**fields, meta={} if same is None else _same(file, **same))
    begin = _begun(Server(open_=open_), file, {name: "x" if name == "secret" else "north" for name in open_["params"]})
    assert (begin.task.fid, begin.task.docs, begin.token) == (FID, fields["docs"], None)
    assert begin.task.meta[META] == {**file.identity(), "attempt": open_["attempt"]}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"docs": 7}, "was not begun by 'headwater push'"),
        ({"docs": 0, "origin": "api"}, "was not begun by 'headwater push'"),
        ({"docs": 7, "same": {"digest": "x", "file": "other"}}, "is open with 7 documents of another file, other"),
        ({"docs": 0, "same": {"size": 3}}, "is open with 0 documents of another file"),
        ({"docs": 7, "same": {}, "params": {"shop": "south"}}, "with another value of shop"),
    ],
)
def test_an_open_task_of_something_else_is_left_alone(file, fields, says):
    same = fields.pop("same", None)
    server = Server(open_=_task(**fields, meta={} if same is None else _same(file, **same)))
    with pytest.raises(CliError, match=says) as caught:
        _begun(server, file, {"shop": "north"} if "params" in fields else None)
    assert caught.value.code == ExitCode.GONE
    assert "--new stops it and begins anew" in str(caught.value)
    assert not any("PATCH" in asked or "stop" in asked for asked in server.asked)


def test_an_open_task_is_stopped_where_a_new_one_is_wanted(file):
    server = Server(open_=_task(docs=7))
    assert _begun(server, file, anew=True).token == TOKEN
    assert f"POST /actions/tasks/{FID}/stop" in server.asked


@pytest.mark.parametrize(("docs", "goes_on"), [(0, True), (3, False)])
def test_what_came_by_stdin_is_not_gone_on_with(docs, goes_on):
    stdin = File.named("-", None, None)
    server = Server(open_=_task(docs=docs, meta={META: {"file": "stdin", "attempt": 1}}))
    if goes_on:
        assert _begun(server, stdin).task.fid == FID
    else:
        with pytest.raises(CliError, match="cannot be told from what comes now"):
            _begun(server, stdin)


def test_stdin_does_not_join_the_task_of_a_file(file):
    server = Server(open_=_task(meta=_same(file)))
    with pytest.raises(CliError, match=f"of another file, {Path(file.path).name}"):
        _begun(server, File.named("-", None, None))


def test_an_open_task_of_another_version_is_not_gone_on_with(file):
    held = {META: {**file.identity(), "attempt": 1}}
    with pytest.raises(CliError, match="with version 3 of the External") as refused:
        _begun(Server(open_=_task(meta=held, external_version=3)), file, version=4)
    assert refused.value.code is ExitCode.GONE
    assert _begun(Server(open_=_task(meta=held, external_version=4)), file, version=4).task.fid == FID
    assert _begun(Server(open_=_task(meta=held, external_version=4)), file).task.fid == FID
