"""``headwater push`` against a served Headwater: whole files, broken ones, and what is interrupted."""

import gzip
import itertools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from backports import zstd

from end_to_end.command_line import CommandLine, empty, exported, line, set_up, tasks_of
from end_to_end.conftest import Served, a_crawler, wait_for
from end_to_end.gate import Gate
from headwater_client import Headwater
from headwater_client.cli.access import Access
from headwater_client.cli.push.files import File
from headwater_client.cli.push.start import PushStart
from headwater_client.cli.push.upload import Upload
from headwater_client.models.objects import Task
from headwater_client.writer import MAX_BYTES

#: Documents of a file that takes long enough to be interrupted.
MANY = 200_000


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("served") / "data")
    served.start()
    yield served
    served.stop()


@pytest.fixture
def cli(served, tmp_path) -> CommandLine:
    empty(served)
    return CommandLine(served, tmp_path)


@pytest.fixture
def large(tmp_path) -> Path:
    """A file of many documents, 40 MB."""
    path = tmp_path / "large.ndjson"
    with path.open("wb") as file:
        file.writelines(line(number) for number in range(MANY))
    return path


@contextmanager
def halting(cli: CommandLine) -> Iterator[Gate]:
    """Whatever is pushed comes to a halt after two uploads, however fast it is, until the gate is opened."""
    with Gate(cli.served.url, uploads=2) as gate, patch.dict(cli.environment, HEADWATER_URL=gate.url):
        yield gate


def _is_partly_there(cli: CommandLine) -> Callable[[], bool]:
    return lambda: any(task["uploads"] == 2 for task in tasks_of(cli))


def _check_whole(cli: CommandLine, large: Path) -> None:
    (task,) = tasks_of(cli)
    assert (task["state"], task["docs"]) == ("done", MANY)
    lines = exported(cli).encode()
    assert lines == large.read_bytes()


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_a_file_becomes_a_task_and_its_lines_stay_as_they_are(cli, packed):
    set_up(cli)
    lines = b'{"id": "a",  "price": 1.50}\n{"id":"b","text":"\\u00e4"}\n'
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstd.compress}[packed]
    (cli.home / f"books.ndjson{packed}").write_bytes(pack(lines))
    ran = cli("push", "Shop", f"books.ndjson{packed}")
    (task,) = tasks_of(cli)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.match(rf"books\.ndjson{re.escape(packed)}: 2 documents, {len(lines)} B in \d+\.\d s; ", ran.stdout)
    assert ran.stdout.endswith(f"task {task['fid']}: 2 added, 0 changed, 0 unchanged, 0 removed\n")
    assert (task["state"], task["origin"], task["docs"], task["bytes"]) == ("done", "cli", 2, len(lines))
    assert exported(cli).encode() == lines


def test_csv_and_json_become_documents_as_the_schema_wants_them(cli):
    set_up(cli, schema={"properties": {"price": {"type": "number"}, "new": {"type": "boolean"}}})
    (cli.home / "a.csv").write_text("id,price,new\n01,8.50,true\n02,,\n")
    (cli.home / "b.json").write_text('[\n  {\n    "id": "03",\n    "price": 1.50\n  }\n]\n')
    assert cli("push", "Shop", "a.csv").returncode == 0
    assert cli("push", "Shop", "b.json").returncode == 0
    assert exported(cli) == (
        '{"id":"01","price":8.50,"new":true}\n{"id":"02"}\n{     "id": "03",     "price": 1.50   }\n'
    )


def test_stdin_is_pushed_as_it_comes(cli):
    set_up(cli)
    assert cli("push", "Shop", "-", stdin=gzip.compress(line(1) + b"\r\n" + line(2))).returncode == 0
    assert exported(cli).encode() == line(1) + line(2)
    assert cli("push", "Shop", "-", "--format", "csv", stdin=b"id\n3\n").returncode == 0
    assert exported(cli).encode() == line(1) + line(2) + b'{"id":"3"}\n'


def test_a_dry_run_only_counts(cli):
    set_up(cli)
    (cli.home / "a.csv").write_text("id\n1\n2\n")
    ran = cli("push", "Shop", "a.csv", "--dry-run")
    assert (ran.stdout, tasks_of(cli)) == ("a.csv: 2 documents, 22 B\n", [])


def test_a_document_that_is_refused_is_told_with_its_line_in_the_file(cli):
    set_up(cli, schema={"properties": {"price": {"type": "number"}}})
    lines = [line(number) for number in range(60_000)]
    lines[50_000:50_000] = [b"\n", b'{"id": "x", "price": "free"}\n']
    (cli.home / "books.ndjson").write_bytes(b"".join(lines))
    ran = cli("push", "Shop", "books.ndjson")
    (task,) = tasks_of(cli)
    first, second = ran.stderr.splitlines()
    assert ran.returncode == 5
    assert first == (
        'headwater: books.ndjson, line 50002: /price: "free" is not of type "number" in {"id": "x", "price": "free"}'
    )
    assert second == (
        f"headwater: task {task['fid']} is closed as failed; it holds {task['docs']:,} documents of books.ndjson,"
        f" which 'headwater tasks delete {task['fid']}' takes out of the stream"
    )
    assert (task["state"], 0 < task["docs"] < 50_000) == ("failed", True)
    assert task["message"] == first.removeprefix("headwater: ")


def test_a_row_that_is_refused_is_told_with_its_number(cli):
    set_up(cli, schema={"properties": {"price": {"type": "number", "minimum": 0}}})
    (cli.home / "a.csv").write_text('id,price\n"a\nb",1\n\nc,-1\n')
    ran = cli("push", "Shop", "a.csv")
    assert ran.returncode == 5
    assert ran.stderr.startswith("headwater: a.csv, row 4: /price: -1 is less than the minimum of 0")
    (cli.home / "b.csv").write_text("id,price\na,1\nb,x\n")
    ran = cli("push", "Shop", "b.csv")
    assert ran.returncode == 5
    assert ran.stderr.startswith('headwater: b.csv, row 3: column "price": "x" is no number\nheadwater: task ')
    assert [task["state"] for task in tasks_of(cli)] == ["failed", "failed"]


def test_a_file_of_another_form_is_told_before_a_task_is_begun(cli):
    set_up(cli)
    (cli.home / "a.json").write_text("id,price\n")
    ran = cli("push", "Shop", "a.json")
    assert (ran.returncode, tasks_of(cli)) == (5, [])
    assert ran.stderr == "headwater: a.json, line 1: this is not JSON: expecting value\n"


def test_what_was_killed_goes_on_where_it_stopped(cli, large):
    set_up(cli)
    with halting(cli):
        first = cli.begin("push", "Shop", large)
        wait_for(_is_partly_there(cli))
        first.kill()
        first.communicate()
    (task,) = tasks_of(cli)
    assert (task["state"], 0 < task["docs"] < MANY) == ("running", True)
    second = cli("push", "Shop", large)
    assert second.returncode == 0
    assert f"large.ndjson: {MANY:,} documents, " in second.stdout
    assert " of them before, " in second.stdout
    _check_whole(cli, large)


def test_what_was_interrupted_says_how_to_go_on(cli, large):
    set_up(cli)
    with halting(cli), cli.terminal("push", "Shop", large) as terminal:
        wait_for(_is_partly_there(cli))
        terminal.type("\x03")
        assert terminal.end() == 130
    (task,) = tasks_of(cli)
    assert "headwater: interrupted\n" in terminal.text
    assert f"task {task['fid']} is open and holds " in terminal.text.replace("\n", " ")
    assert f"'headwater tasks stop {task['fid']}' ends it" in terminal.text.replace("\n", " ")
    assert cli("push", "Shop", large).returncode == 0
    _check_whole(cli, large)


def test_a_server_that_is_restarted_meanwhile_is_waited_for(serve, tmp_path, large):
    cli = CommandLine(serve(), tmp_path)
    set_up(cli)
    with halting(cli) as gate:
        pushing = cli.begin("push", "Shop", large)
        wait_for(_is_partly_there(cli))
        cli.served.kill()
        gate.open()
        time.sleep(0.5)
        cli.served.start()
        assert pushing.communicate(timeout=60)[1] == ""
    assert pushing.returncode == 0
    _check_whole(cli, large)


def test_an_upload_that_arrives_after_its_sender_was_killed_is_not_stored_twice(cli, large):
    set_up(cli)
    with halting(cli):
        first = cli.begin("push", "Shop", large)
        wait_for(_is_partly_there(cli))
        first.kill()
        first.communicate()
    (seen,) = tasks_of(cli)
    late = b"".join(itertools.islice(_uploads(large), seen["uploads"], seen["uploads"] + 1))
    key = f"push-{File.named(str(large), None, None).identity()['digest']}--{seen['docs']}"
    with cli.served.client() as client:
        url = f"/actions/tasks/{seen['fid']}/upload"
        client.post(url, content=late, headers={"Idempotency-Key": key}).raise_for_status()
    with Headwater(cli.served.url, cli.served.key()) as headwater:
        settled = Access(cli.served.url, cli.served.key())
        file = File.named(str(large), None, None)
        begin = PushStart(Task.read(seen), None, file.identity())  # as it stood before that upload had come
        assert Upload(headwater, settled, file, begin).run().docs == MANY
    _check_whole(cli, large)


def _uploads(file: Path) -> Iterator[bytes]:
    """What the bodies of a file's uploads are."""
    body = b""
    for each in file.read_bytes().splitlines(keepends=True):
        if len(body) + len(each) > MAX_BYTES:
            yield body
            body = b""
        body += each
    yield body


def test_a_task_that_something_else_was_uploaded_to_gets_the_whole_file(cli, large):
    set_up(cli)
    with halting(cli):
        first = cli.begin("push", "Shop", large)
        wait_for(_is_partly_there(cli))
        first.kill()
        first.communicate()
    (task,) = tasks_of(cli)
    with cli.served.client() as client:
        client.post(f"/actions/tasks/{task['fid']}/upload", content=b'{"id": "00000001"}').raise_for_status()
    ran = cli("push", "Shop", large)
    assert (ran.returncode, " of them before" in ran.stdout) == (0, False)
    (task,) = tasks_of(cli)
    assert (task["state"], task["docs"] > MANY) == ("done", True)
    assert exported(cli).encode() == large.read_bytes()


def test_another_file_waits_until_the_open_task_has_ended(cli, large):
    set_up(cli)
    with halting(cli):
        first = cli.begin("push", "Shop", large)
        wait_for(_is_partly_there(cli))
        first.kill()
        first.communicate()
    (cli.home / "other.ndjson").write_bytes(line(1))
    ran = cli("push", "Shop", "other.ndjson")
    (task,) = tasks_of(cli)
    assert ran.returncode == 6
    assert ran.stderr == (
        f"headwater: task {task['fid']} is open with {task['docs']:,} documents of another file, large.ndjson: "
        "--new stops it and begins anew\n"
    )
    assert cli("push", "Shop", "other.ndjson", "--new").returncode == 0
    assert [task["state"] for task in tasks_of(cli)] == ["done", "stopped"]


def test_a_task_that_is_stopped_meanwhile_is_given_up(cli, large):
    set_up(cli)
    with halting(cli) as gate:
        pushing = cli.begin("push", "Shop", large)
        wait_for(_is_partly_there(cli))
        with cli.served.client() as client:
            client.post(f"/actions/tasks/{tasks_of(cli)[0]['fid']}/stop").raise_for_status()
        gate.open()
        errors = pushing.communicate(timeout=60)[1]
    assert pushing.returncode == 6
    assert errors.startswith("headwater: Headwater wants nothing more for this task: ")
    assert errors.count("\n") == 1


def test_a_retried_task_takes_the_file_anew(cli):
    set_up(cli)
    (cli.home / "a.ndjson").write_bytes(line(1) + line(2))
    assert cli("push", "Shop", "a.ndjson").returncode == 0
    (task,) = tasks_of(cli)
    assert cli.answer("tasks", "retry", task["fid"])["attempt"] == 2
    (cli.home / "a.ndjson").write_bytes(line(2))
    assert cli("push", "Shop", "a.ndjson").returncode == 0
    assert exported(cli).encode() == line(2)


def test_a_crawler_with_a_server_is_not_pushed_to(cli):
    with cli.served.client() as client:
        crawler = a_crawler(client, external={"endpoint": "http://127.0.0.1:9"})
    (cli.home / "a.ndjson").write_bytes(line(1))
    ran = cli("push", crawler["fid"], "a.ndjson")
    assert (ran.returncode, tasks_of(cli)) == (2, [])
    assert "'headwater tasks start' starts it" in ran.stderr


@pytest.mark.parametrize("columns", [80, 140])
def test_a_bar_tells_how_far_it_has_come(cli, large, columns):
    set_up(cli)
    with cli.terminal("push", "Shop", large, columns=columns) as terminal:
        assert terminal.end() == 0
    bars = [frame for frame in terminal.frames() if "━" in frame]
    assert any(" docs  " in bar and "/s" in bar for bar in bars)
    assert all(len(bar) <= columns for bar in bars)
    assert terminal.frames()[-1].startswith(f"large.ndjson: {MANY:,} documents, ")
