"""However a push ends, its task is closed, or it is told that it is open; and no command ends in a traceback."""

import json
import os
import subprocess

import pytest

from end_to_end.command_line import HEADWATER, CommandLine, empty, set_up, tasks_of
from end_to_end.conftest import Served
from headwater_client import Headwater
from headwater_client.cli.access import Access
from headwater_client.cli.errors import CliError
from headwater_client.cli.push.files import File
from headwater_client.cli.push.start import begun
from headwater_client.cli.push.upload import Upload


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


class Stop(BaseException):
    """Ends a program, past ``except Exception``."""


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("half.ndjson", b'{"id": "a"}\n{"id": "x", "t": "\\ud83d"}\n', "half.ndjson, line 2: "),
        ("half.json", b'[{"id": "a"}, {"id": "x", "t": "\\ud83d"}]', "half.json, line 1: "),
        ("nul.ndjson", b'{"id": "a"}\n{"id": "x", "t": \0}\n', "nul.ndjson, line 2: "),
        ("latin.ndjson", '{"id": "a"}\n{"id": "ä"}\n'.encode("latin-1"), "latin.ndjson, line 2: "),
        ("deep.ndjson", b'{"id": "a", "t": ' + b"[" * 5000 + b"]" * 5000 + b"}\n", "deep.ndjson, line 1: "),
        ("wrong.ndjson", b'{"id": "\\u0000\\ud83d\\ude00", "price": "\\u0000"}\n', "wrong.ndjson, line 1: /price: "),
        (b"\xff\xfe.ndjson", b'{"id": "a"}\n{"id": 1\n', "\ufffd\ufffd.ndjson, line 2: "),
    ],
    ids=["surrogate", "surrogate in json", "NUL", "latin", "deep", "refused with NUL", "name"],
)
def test_a_push_that_is_refused_closes_its_task_and_blocks_nobody(cli, name, content, said):
    set_up(cli, schema={"properties": {"price": {"type": "number"}}})
    path = os.path.join(os.fsencode(cli.home), os.fsencode(name))  # noqa: PTH118 - bytes
    with open(path, "wb") as file:  # noqa: PTH123 - likewise
        file.write(content)
    ran = cli("push", "Shop", os.fsdecode(name))
    (task,) = tasks_of(cli)
    assert (ran.returncode, task["state"], "Traceback" in ran.stderr) == (5, "failed", False), ran.stderr
    assert said in ran.stderr
    assert f"task {task['fid']} is closed as failed" in ran.stderr
    (cli.home / "good.ndjson").write_text('{"id": "b"}\n')
    assert cli("push", "Shop", "good.ndjson").returncode == 0


def test_a_file_whose_name_is_no_text_is_pushed(cli):
    set_up(cli)
    with open(os.path.join(os.fsencode(cli.home), b"b\xe4.ndjson"), "wb") as file:  # noqa: PTH118, PTH123 - bytes
        file.write(b'{"id": "a"}\n')
    ran = cli("push", "Shop", os.fsdecode(b"b\xe4.ndjson"))
    (task,) = tasks_of(cli)
    assert (ran.returncode, task["state"], task["meta"]["push"]["file"]) == (0, "done", "b\ufffd.ndjson"), ran.stderr


@pytest.mark.parametrize("name", ["large.json", "large.ndjson"])
def test_an_integer_of_any_length_leaves_no_task_open(cli, name):
    set_up(cli)
    (cli.home / name).write_text('{"id": "a", "n": 1' + "0" * 5000 + "}\n")
    ran = cli("push", "Shop", name)
    (task,) = tasks_of(cli)
    assert task["state"] in {"done", "failed"}
    assert (ran.returncode == 0) == (task["state"] == "done"), ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    "error", [RuntimeError("a\0\ud83d"), MemoryError(), Stop("no"), SystemExit(3), OSError("disk")]
)
def test_whatever_breaks_a_push_closes_its_task(cli, error):
    crawler = set_up(cli)
    path = cli.home / "books.ndjson"
    path.write_text('{"id": "a"}\n{"id": "b"}\n')

    class Broken(File):
        def documents(self):
            yield 1, b'{"id": "a"}\n'
            raise error

    file = Broken.named(str(path), None, None)
    with Headwater(cli.served.url, cli.served.key()) as headwater:
        beginning = begun(headwater, headwater.crawlers.get(crawler["fid"]), file, {}, anew=False)
        upload = Upload(headwater, Access(cli.served.url, cli.served.key()), file, beginning)
        with pytest.raises(CliError if isinstance(error, Exception) else type(error)):
            upload.run()
    (task,) = tasks_of(cli)
    assert (task["state"], task["code"]) == ("failed", 500)
    assert "the push failed by an unexpected error" in task["message"]
    assert "Traceback" in task["detail"]["traceback"]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), Stop("no")])
def test_a_push_that_cannot_begin_closes_its_task(cli, error):
    crawler = set_up(cli)
    path = cli.home / "books.ndjson"
    path.write_text('{"id": "a"}\n')

    class Broken(File):
        @property
        def name(self):
            raise error

    file = Broken.named(str(path), None, None)
    file.identity = lambda: None
    with Headwater(cli.served.url, cli.served.key()) as headwater, pytest.raises((CliError, Stop)):
        begun(headwater, headwater.crawlers.get(crawler["fid"]), file, {}, anew=False)
    (task,) = tasks_of(cli)
    assert task["state"] == "failed"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1:strict", "utf-16", "utf-8", "cp437"])
def test_no_command_ends_in_a_traceback_whatever_the_encoding_of_stdout(cli, encoding):
    set_up(cli)
    document = {"id": "日本 😀", "text": "ä ½ ½ \u2028"}
    (cli.home / "books.ndjson").write_text(json.dumps(document, ensure_ascii=False) + "\n")
    assert cli("push", "Shop", "books.ndjson").returncode == 0
    with cli.served.client() as client:
        (stream,) = client.get("/streams").json()["payload"]
        client.patch(f"/streams/{stream['fid']}", json={"meta": {"name": "本 ½ 😀"}}).raise_for_status()
    cli.environment |= {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for words in (
        ("streams", "docs", "本 ½ 😀"),
        ("streams", "list"),
        ("streams", "show", "本 ½ 😀"),
        ("streams", "log", "本 ½ 😀"),
        ("tasks", "list"),
        ("events", "--no-follow"),
        ("streams", "show", "no 😀"),
    ):
        ran = _raw(cli, *words)
        assert b"Traceback" not in ran.stderr.replace(b"\0", b""), (words, ran.stderr)
    docs = _raw(cli, "streams", "docs", "本 ½ 😀")
    text = docs.stdout.decode(encoding.partition(":")[0])
    assert [json.loads(each)["doc"] for each in text.rstrip("\n").split("\n")] == [document]


def _raw(cli: CommandLine, *words: str):
    command = [*HEADWATER, *words]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, cwd=cli.home, env=cli.environment, capture_output=True, check=False
    )


def test_a_name_that_is_no_text_is_told_and_not_sent(cli):
    ran = cli("streams", "show", os.fsdecode(b"\xff"))
    assert (ran.returncode, "Traceback" in ran.stderr) == (1, False), ran.stderr
    assert "half of a surrogate" in ran.stderr or "cannot be sent" in ran.stderr


def test_a_wrapped_file_is_told_with_how_to_unwrap_it(cli):
    set_up(cli, schema={"required": ["id"]})
    (cli.home / "books.json").write_text(json.dumps({"data": [{"id": 1}, {"id": 2}]}, indent=2))
    refused = cli("push", "Shop", "books.json")
    assert (refused.returncode, "jq -c '.data[]' books.json" in refused.stderr) == (5, True)


@pytest.mark.parametrize("stdin", [True, False])
def test_a_json_array_that_is_no_lines_is_told_with_how_to_push_it(cli, stdin):
    set_up(cli)
    text = json.dumps([{"id": 1}, {"id": 2}], indent=2)
    (cli.home / "books.ndjson").write_text(text)
    ran = cli("push", "Shop", "-", stdin=text.encode()) if stdin else cli("push", "Shop", "books.ndjson")
    assert (ran.returncode, "--format json reads it" in ran.stderr) == (5, True)
    assert {task["state"] for task in tasks_of(cli)} <= {"failed"}
    assert cli("push", "Shop", "books.ndjson", "--format", "json").returncode == 0
