"""The example: what it makes of a package, how it talks to Headwater, and that its demo ends well."""

import gzip
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import Distribution
from itertools import chain
from pathlib import Path

import pytest
from jsonschema_rs import validator_for

from examples.packages_crawler import packages
from examples.packages_crawler.crawler import Crawler
from examples.packages_crawler.demo import compare
from headwater.api.externals import NewExternal
from headwater.domain.errors import ParametersInvalid
from headwater.domain.parameter import check_parameters

ROOT = Path(__file__).parents[2]
EXTERNAL = json.loads((ROOT / "examples/packages_crawler/external.json").read_text())
#: A test that waits longer than that hangs.
PATIENCE = 60


def params(**given):
    """Return what Headwater sends for these parameters."""
    return check_parameters(NewExternal.model_validate(EXTERNAL).definition().parameters, given)


def package(folder, *metadata, files=None, requires=()):
    """Return a package as an installer leaves it."""
    info = folder / "made_up-1.0.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.4", "Name: Made_Up", "Version: 1.0", "Summary: Not there.", *metadata]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {each}" for each in requires), "", ""]))
    if files is not None:
        (info / "RECORD").write_text("".join(f"{name},,{size}\n" for name, size in files.items()))
    return Distribution.at(info)


def test_a_package_becomes_a_document(tmp_path):
    found = package(tmp_path, "License-Expression: MIT", files={"b.py": 10, "a.py": 5, "RECORD": ""}, requires=["idna"])

    assert packages.document(found, params()) == {
        "name": "made-up",
        "version": "1.0",
        "summary": "Not there.",
        "licence": "MIT",
        "requires": ["idna"],
        "files": {"count": 3, "bytes": 15},
    }


def test_full_detail_tells_the_paths_of_the_files(tmp_path):
    found = package(tmp_path, files={"b.py": 10, "a.py": 5})

    document = packages.document(found, params(detail="full"))

    assert document["files"] == {"count": 2, "bytes": 15, "paths": ["a.py", "b.py"]}


def test_a_package_without_a_list_of_its_files_is_told_with_null(tmp_path):
    assert packages.document(package(tmp_path), params())["files"] is None


@pytest.mark.parametrize(("extras", "shown"), [(False, ["idna"]), (True, ["idna", "pytest; extra == 'test'"])])
def test_requirements_of_extras_are_told_when_they_are_asked_for(tmp_path, extras, shown):
    found = package(tmp_path, requires=["idna", "pytest; extra == 'test'"])

    assert packages.document(found, params(extras=extras))["requires"] == shown


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        (["License-Expression: MIT", "License: old"], "MIT"),
        (["License: BSD 2-Clause"], "BSD 2-Clause"),
        (
            ["License: Permission is\n  hereby granted", "Classifier: License :: OSI Approved :: ISC License"],
            "ISC License",
        ),
        (["Classifier: Topic :: Database"], None),
    ],
)
def test_a_licence_is_the_nearest_thing_to_an_expression(tmp_path, metadata, told):
    assert packages.licence(package(tmp_path, *metadata)) == told


def test_packages_are_chosen_by_name_in_order_and_once():
    names = [packages.normalized(found.metadata["Name"]) for found in packages.chosen(params(name="p*"))]

    assert {"pluggy", "pytest"} <= set(names)
    assert all(name.startswith("p") for name in names)
    assert names == sorted(set(names))


def test_what_a_broken_installation_left_behind_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "~nameless-1.0.dist-info").mkdir()
    package(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    assert [found.version for found in packages.chosen(params(name="made*"))] == ["1.0"]


def test_packages_are_chosen_by_their_number_of_files():
    some = packages.chosen(params(min_files=20, max_files=60))

    assert some
    assert all(20 <= len(found.files) <= 60 for found in some)
    assert len(some) < len(packages.chosen(params()))


def test_every_installed_package_matches_the_schema_of_the_external():
    validator = validator_for(EXTERNAL["schema"])

    for found in packages.chosen(params()):
        validator.validate(packages.document(found, params(detail="full", extras=True)))


def test_the_external_refuses_bounds_between_which_nothing_is():
    with pytest.raises(ParametersInvalid) as refused:
        params(min_files=2, max_files=1)

    assert refused.value.flaws[0].pointer == "/params/max_files"


@dataclass
class Heard:
    """A call that the fake Headwater got."""

    #: ``upload`` or ``status``.
    what: str
    #: The token with which it came.
    token: str
    headers: dict
    body: bytes

    @property
    def documents(self):
        return [json.loads(line) for line in gzip.decompress(self.body).splitlines()]

    @property
    def status(self):
        return json.loads(self.body)


class FakeHeadwater(ThreadingHTTPServer):
    """Takes uploads and statuses, and answers as it is told."""

    #: What is answered to a call, with the calls of its kind up to it: status, headers and body.
    answer: Callable[[Heard, int], tuple] = staticmethod(lambda _call, _count: (200, {}, {}))

    def __init__(self):
        super().__init__(("127.0.0.1", 0), FakeHandler)
        self.heard = []
        #: The task has been closed by its crawler.
        self.closed = threading.Event()

    @property
    def uploads(self):
        return [call for call in self.heard if call.what == "upload"]

    @property
    def codes(self):
        return [call.status["code"] for call in self.heard if call.what == "status"]


class FakeHandler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        task, _, what = self.path.rpartition("/")
        call = Heard(what, task.rpartition(".")[2], dict(self.headers), body)
        self.server.heard.append(call)
        count = sum(former.what == call.what for former in self.server.heard)
        status, headers, answer = self.server.answer(call, count)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())
        if call.what == "status" and status == 200 and call.status["code"] != 102:
            self.server.closed.set()

    def log_message(self, *_):
        pass


@contextmanager
def serving(server) -> Generator:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def headwater():
    with serving(FakeHeadwater()) as server:
        yield server


@pytest.fixture
def crawler():
    with serving(Crawler(("127.0.0.1", 0), pauses=(0.0, 0.0))) as server:
        yield server


def address(server):
    return "http://{}:{}".format(*server.server_address)


def call(server, method, path, body):
    request = urllib.request.Request(address(server) + path, json.dumps(body).encode(), method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, json.load(answer)


def order(headwater, *, fid="f1", attempt="t1", name="pytest*", **given):
    """Return what Headwater sends to begin a task; there are at least three packages of that name."""
    endpoint = f"{address(headwater)}/actions/tasks/{fid}.{attempt}"
    return {
        "fid": fid,
        "params": params(name=name, **given),
        "credential": None,
        "endpoint": endpoint,
        "token": attempt,
    }


def start(crawler, headwater, **given):
    return call(crawler, "POST", "/task?version=3", order(headwater, **given))


def until_over(fid="f1"):
    """Wait until the crawler does nothing more for a task."""
    for thread in threading.enumerate():
        if thread.name == f"task-{fid}":
            thread.join(PATIENCE)
            assert not thread.is_alive()


def holding(headwater):
    """Let the first upload wait for its answer; return what says that it came, and what lets it go."""
    came, go = threading.Event(), threading.Event()

    def answer(call, count):
        if call.what == "upload" and count == 1:
            came.set()
            assert go.wait(PATIENCE)
        return 200, {}, {}

    headwater.answer = answer
    return came, go


def test_a_task_is_answered_at_once_with_where_to_tell_its_end(crawler, headwater):
    came, go = holding(headwater)

    status, answer = start(crawler, headwater)

    assert status == 200
    assert answer["success"] is True
    assert answer["payload"]["callback"] == "/task/f1"
    assert answer["payload"]["status"]["code"] == 102
    assert came.wait(PATIENCE)
    go.set()
    until_over()


def test_packages_are_uploaded_in_batches_and_the_task_is_closed_as_done(crawler, headwater):
    start(crawler, headwater, batch=2)
    assert headwater.closed.wait(PATIENCE)

    names = [[document["name"] for document in upload.documents] for upload in headwater.uploads]
    expected = [packages.normalized(found.metadata["Name"]) for found in packages.chosen(params(name="pytest*"))]
    assert len(names[0]) == 2
    assert list(chain(*names)) == expected
    assert headwater.codes == [102] * len(names) + [200]
    assert headwater.heard[1].status["detail"] == {"done": 2, "of": len(expected)}
    assert headwater.heard[-1].status["detail"] == {"done": len(expected), "of": len(expected)}
    until_over()


def test_an_upload_is_gzipped_lines_with_a_key_of_its_own(crawler, headwater):
    start(crawler, headwater, batch=1)
    assert headwater.closed.wait(PATIENCE)

    keys = [upload.headers["Idempotency-Key"] for upload in headwater.uploads]
    assert len(set(keys)) == len(keys) > 1
    assert headwater.uploads[0].headers["Content-Type"] == "application/x-ndjson"
    assert headwater.uploads[0].headers["Content-Encoding"] == "gzip"
    until_over()


def test_a_task_that_finds_nothing_is_done_without_an_upload(crawler, headwater):
    start(crawler, headwater, name="no-such-package")
    assert headwater.closed.wait(PATIENCE)

    assert headwater.uploads == []
    assert headwater.codes == [200]
    until_over()


@pytest.mark.parametrize(
    "refusal",
    [
        (503, {"Retry-After": "0"}, {}),
        (429, {"Retry-After": "0"}, {}),
        (500, {}, "of a proxy, and no problem details"),
        (409, {}, {"type": "https://headwater.dev/problems/upload-in-flight"}),
    ],
)
def test_an_upload_that_may_succeed_later_is_tried_again_with_the_same_key(crawler, headwater, refusal):
    headwater.answer = lambda call, count: refusal if call.what == "upload" and count == 1 else (200, {}, {})

    start(crawler, headwater)
    assert headwater.closed.wait(PATIENCE)

    first, second = headwater.uploads
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.body == second.body
    assert headwater.codes == [102, 200]
    until_over()


def test_an_upload_whose_connection_breaks_is_tried_again_with_the_same_key(crawler, headwater):
    def answer(call, count):
        if call.what == "upload" and count == 1:
            raise ConnectionAbortedError
        return 200, {}, {}

    headwater.answer = answer
    headwater.handle_error = lambda *_: None

    start(crawler, headwater)
    assert headwater.closed.wait(PATIENCE)

    first, second = headwater.uploads
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    until_over()


def test_a_crawler_gives_up_after_its_last_try(crawler, headwater):
    headwater.answer = lambda call, _: (503, {}, {"detail": "not now"}) if call.what == "upload" else (200, {}, {})

    start(crawler, headwater)
    assert headwater.closed.wait(PATIENCE)

    assert len(headwater.uploads) == 3  # two pauses, three tries
    assert headwater.codes == [500]
    until_over()


@pytest.mark.parametrize("code", [401, 404, 409])
@pytest.mark.parametrize("what", ["upload", "status"])
def test_a_crawler_stops_without_a_word_when_headwater_wants_no_more(crawler, headwater, what, code):
    headwater.answer = lambda call, _: (code, {}, {"detail": "deleted"}) if call.what == what else (200, {}, {})

    start(crawler, headwater, batch=1)
    until_over()

    assert len(headwater.uploads) == 1
    assert headwater.codes == ([102] if what == "status" else [])


def test_a_crawler_stops_when_it_is_told_of_the_end(crawler, headwater):
    came, go = holding(headwater)
    start(crawler, headwater, batch=1)
    assert came.wait(PATIENCE)

    status, _ = call(crawler, "PATCH", "/task/f1/status?version=3", {"code": 410, "message": "stopped", "detail": None})
    go.set()
    until_over()

    assert status == 200
    assert len(headwater.uploads) == 1
    assert 200 not in headwater.codes


def test_a_pause_between_tries_ends_when_the_task_does(headwater):
    headwater.answer = lambda *_: (503, {}, {})
    with serving(Crawler(("127.0.0.1", 0), pauses=(3600.0,))) as crawler:
        start(crawler, headwater)
        call(crawler, "PATCH", "/task/f1/status?version=3", {"code": 408, "message": "silent", "detail": None})
        until_over()

    assert headwater.codes == []


def test_the_end_of_a_task_that_does_not_run_is_404(crawler):
    assert call(crawler, "PATCH", "/task/f1/status?version=3", {"code": 410})[0] == 404


def test_a_failure_is_reported_with_what_it_was(crawler, headwater):
    wrong = order(headwater)
    del wrong["params"]["detail"]

    call(crawler, "POST", "/task?version=3", wrong)
    assert headwater.closed.wait(PATIENCE)

    assert headwater.codes == [500]
    assert headwater.heard[-1].status["message"] == "KeyError: 'detail'"
    until_over()


def test_a_refused_document_fails_the_task_with_what_headwater_said(crawler, headwater):
    problem = {"detail": "1 of 3 documents does not match", "messages": ["line 2: /name: no"]}
    headwater.answer = lambda call, _: (406, {}, problem) if call.what == "upload" else (200, {}, {})

    start(crawler, headwater)
    assert headwater.closed.wait(PATIENCE)

    assert len(headwater.uploads) == 1
    assert headwater.codes == [500]
    said = headwater.heard[-1].status["message"]
    assert said == "CallFailed: Headwater answered 406: 1 of 3 documents does not match; line 2: /name: no"
    until_over()


def test_the_same_order_again_begins_nothing_anew(crawler, headwater):
    came, go = holding(headwater)
    start(crawler, headwater)
    assert came.wait(PATIENCE)

    status, _ = start(crawler, headwater)
    go.set()
    until_over()

    assert status == 200
    assert len(headwater.uploads) == 1
    assert headwater.codes == [102, 200]


def test_a_new_attempt_takes_the_place_of_the_former(crawler, headwater):
    came, go = holding(headwater)
    start(crawler, headwater, batch=1, attempt="t1")
    assert came.wait(PATIENCE)

    start(crawler, headwater, batch=1, attempt="t2")
    assert headwater.closed.wait(PATIENCE)
    go.set()
    until_over()

    by_attempt = [upload.token for upload in headwater.uploads]
    assert by_attempt.count("t1") == 1
    assert by_attempt.count("t2") > 1


@pytest.mark.parametrize("body", [{}, [], {"fid": "f1"}, "task"])
def test_an_order_that_is_none_is_refused(crawler, body):
    status, answer = call(crawler, "POST", "/task?version=1", body)

    assert status == 400
    assert answer["success"] is False


def test_other_paths_are_404(crawler):
    assert call(crawler, "POST", "/tasks", {})[0] == 404
    assert call(crawler, "PATCH", "/task/f1", {})[0] == 404


def test_two_exports_are_told_apart_by_document():
    def export(**versions):
        return b"".join(
            json.dumps({"name": name, "version": version}).encode() + b"\n" for name, version in versions.items()
        )

    found = compare(export(a=1, b=1, c=1), export(b=1, c=2, d=1))

    assert (found.added, found.changed, found.unchanged, found.removed) == (["d"], ["c"], ["b"], ["a"])


def demo(folder):
    """Run the demo in a folder of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "examples.packages_crawler.demo"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=4 * PATIENCE, check=False
    )


def test_the_demo_ends_with_0_and_the_stream_as_it_was(tmp_path):
    (tmp_path / "demo-data").mkdir()
    (tmp_path / "demo-data" / "left-over").touch()

    ended = demo(tmp_path)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "The stream is byte for byte what it was." in ended.stdout
    assert (tmp_path / "demo-data" / "admin.key").exists()
    assert not (tmp_path / "demo-data" / "left-over").exists()


def test_the_demo_ends_with_1_and_says_why_when_it_cannot_go_on(tmp_path):
    (tmp_path / "demo-data").touch()  # a file where its directory should be

    ended = demo(tmp_path)

    assert ended.returncode == 1
    assert ended.stderr.startswith("demo: ")
    assert len(ended.stderr.splitlines()) == 1
