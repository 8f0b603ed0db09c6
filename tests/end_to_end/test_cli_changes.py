"""The commands that change what there is: crawlers, Externals, streams and tasks, against a served Headwater."""

import json
import subprocess

import pytest
from typer.testing import CliRunner

from end_to_end.command_line import CommandLine, empty, exported, line, set_up, tasks_of
from end_to_end.conftest import Served, made
from headwater_client.cli.app import app


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("served") / "data")
    served.start()
    yield served
    served.stop()


class InProcess(CommandLine):
    """Runs ``headwater`` in this process, which is faster; on a terminal, it is a process."""

    def __call__(self, *words: object, stdin: bytes | None = None) -> subprocess.CompletedProcess:
        ran = CliRunner().invoke(app, [str(word) for word in words], input=stdin, env=self.environment)
        return subprocess.CompletedProcess(words, ran.exit_code, ran.stdout, ran.stderr)


@pytest.fixture
def cli(served, tmp_path, monkeypatch) -> CommandLine:
    empty(served)
    monkeypatch.chdir(tmp_path)
    return InProcess(served, tmp_path)


def _told(cli: CommandLine, *words: object, stdin: bytes | None = None) -> str:
    ran = cli(*words, stdin=stdin)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return ran.stdout


def test_every_version_is_told_with_where_the_server_is(cli):
    client, server = _told(cli, "--version").splitlines()
    assert client.startswith("headwater-client ")
    assert server.startswith("headwater ")
    assert server.endswith(f" at {cli.served.url}")
    cli.environment["HEADWATER_URL"] = "http://127.0.0.1:9"
    assert _told(cli, "--version").splitlines() == [client, "no Headwater answers at http://127.0.0.1:9"]


def test_an_object_is_found_by_the_start_of_its_fid(cli):
    with cli.served.client() as client:
        first, second = (made(client, "/streams", {"meta": {"name": name}})["fid"] for name in ("One", "Two"))
    same = next(number for number in range(32) if first[number] != second[number])
    assert cli.answer("streams", "show", first[: same + 1])["fid"] == first
    ran = cli("streams", "show", first[:same])
    assert ran.returncode == 2
    assert f"several have a fid that starts with '{first[:same]}', so name the stream by its fid" in ran.stderr
    assert cli("streams", "show", "ffff").returncode == 3
    with cli.served.client() as client:
        made(client, "/streams", {"meta": {"name": first[: same + 1]}})
    assert cli.answer("streams", "show", first[: same + 1])["meta"] == {"name": first[: same + 1]}


def test_a_crawler_is_edited_by_options(cli):
    set_up(cli)
    words = ("--name", "Market", "--timeout", "2h", "--publish", "on_success")
    assert " is changed: meta, publish, timeout.\n" in _told(cli, "crawlers", "edit", "Shop", *words)
    crawler = cli.answer("crawlers", "show", "Market")
    assert (crawler["timeout"], crawler["publish"]) == (7200, "on_success")
    patch = json.dumps({"meta": {"colour": "red"}, "timeout": 60}).encode()
    _told(cli, "crawlers", "edit", "Market", "--patch", "-", stdin=patch)
    crawler = cli.answer("crawlers", "show", "Market")
    assert (crawler["meta"], crawler["timeout"]) == ({"name": "Market", "colour": "red"}, 60)
    assert cli("crawlers", "edit", "Market").returncode == 2  # there is no terminal, and so no editor


def test_the_runs_that_brought_documents_are_found_and_undone(cli):
    set_up(cli)
    tasks = []
    for price in (3, -1, -1):
        cli("push", "Shop", "-", stdin=b'{"id": "a", "price": %d}' % price)
        tasks.append(cli.answer("tasks", "list")[0]["fid"])
    found = cli.answer("streams", "bisect", "Books", "--where", "price<0")
    assert [run["task"] for run in found["runs"]] == [tasks[1]]
    assert found["to_undo"] == tasks[1:]
    blamed = [word for task in found["to_undo"] for word in ("--task", task)]
    assert cli.answer("streams", "revert", "Books", *blamed, "--dry-run")["restored"] == 1
    assert cli.answer("streams", "revert", "Books", *blamed, "--yes")["tasks"] == tasks[1:]
    assert cli.answer("streams", "bisect", "Books", "--where", "price<0")["docs"] == 0
    assert cli("streams", "bisect", "Books").returncode == 2


def test_a_run_is_expected_and_no_longer(cli):
    set_up(cli)
    assert _told(cli, "crawlers", "expect", "Shop") == "Crawler Shop: no run is expected.\n"
    told = _told(
        cli, "crawlers", "expect", "Shop", "--cron", "0 3 * * *", "--timezone", "Europe/Berlin", "--grace", "1h"
    )
    assert "a run should end well at 0 3 * * * (Europe/Berlin), 3600 s later at most, by 20" in told
    answer = cli.answer("crawlers", "expect", "Shop", "--every", "1d", "--grace", "2h")
    assert (answer["expect"]["every"], answer["expect"]["cron"], answer["expect"]["grace"]) == (86400, None, 7200)
    assert answer["expected_by"] is None or answer["missed_since"] is None
    assert cli.answer("crawlers", "expect", "Shop", "--off")["expect"] is None
    assert cli("crawlers", "expect", "Shop", "--off", "--grace", "1h").returncode == 2


def test_parameters_of_a_crawler_are_set_and_removed(cli):
    (cli.home / "external.json").write_text(
        json.dumps({"meta": {"name": "Pages"}, "parameters": [{"name": "shop"}, {"name": "pages", "type": "integer"}]})
    )
    _told(cli, "externals", "register", "external.json")
    _told(cli, "crawlers", "create", "Shop", "-e", "Pages", "--new-stream", "Books", "-p", "shop=a", "-p", "pages=1")
    _told(cli, "crawlers", "edit", "Shop", "-p", "pages=2", "--unset", "shop")
    assert cli.answer("crawlers", "show", "Shop")["params"] == {"pages": 2}
    ran = cli("crawlers", "edit", "Shop", "-p", "page=2")
    assert (ran.returncode, "there is no parameter 'page'" in ran.stderr) == (2, True)


def test_a_crawler_is_edited_in_an_editor(cli):
    set_up(cli)
    script = cli.home / "editor.sh"
    script.write_text('#!/bin/sh\nsed -i \'s/"timeout": 3600/"timeout": 60/\' "$1"\n')
    script.chmod(0o700)
    cli.environment["EDITOR"] = str(script)
    with cli.terminal("crawlers", "edit", "Shop") as terminal:
        assert terminal.end() == 0
    assert "is changed: timeout." in terminal.text
    assert cli.answer("crawlers", "show", "Shop")["timeout"] == 60
    with cli.terminal("crawlers", "edit", "Shop") as terminal:
        assert terminal.end() == 1
    assert "nothing was changed" in terminal.text
    script.write_text('#!/bin/sh\necho "[" > "$1"\n')
    with cli.terminal("externals", "edit", "Pages") as terminal:
        assert terminal.end() == 2
    assert "what was saved is not JSON" in terminal.text


def test_a_schedule_is_set_paused_resumed_and_removed(cli):
    set_up(cli)
    assert _told(cli, "crawlers", "schedule", "Shop") == "Crawler Shop runs by hand only.\n"
    ran = cli("crawlers", "pause", "Shop")
    assert (ran.returncode, "'headwater crawlers schedule' sets one" in ran.stderr) == (1, True)
    _told(cli, "externals", "edit", "Pages", "--endpoint", "http://127.0.0.1:9/ec")
    told = _told(cli, "crawlers", "schedule", "Shop", "--cron", "30 2 * * *", "--timezone", "Europe/Berlin")
    assert told.startswith("Crawler Shop runs at 30 2 * * * (Europe/Berlin), next at ")
    assert _told(cli, "crawlers", "schedule", "Shop", "--every", "6h", "--jitter", "5m").startswith(
        "Crawler Shop runs every 21600 s, delayed by up to 300 s, next at "
    )
    assert _told(cli, "crawlers", "pause", "Shop").endswith(", and is paused.\n")
    assert cli.answer("crawlers", "show", "Shop")["schedule"]["paused"] is True
    assert "next at" in _told(cli, "crawlers", "resume", "Shop")
    assert cli("crawlers", "schedule", "Shop", "--every", "6h", "--off").returncode == 2
    assert cli("crawlers", "schedule", "Shop", "--every", "soon").returncode == 2
    _told(cli, "crawlers", "schedule", "Shop", "--off")
    assert cli.answer("crawlers", "show", "Shop")["schedule"] is None


def test_gates_are_set_and_a_run_that_they_hold_back_is_published(cli):
    set_up(cli)
    told = _told(cli, "crawlers", "gates", "Shop", "--min-docs", 2, "--max-shrink", 0.5)
    assert (
        told == "Crawler Shop: a run needs at least 2 documents, at most 50% fewer documents than the last good run.\n"
    )
    _told(cli, "crawlers", "edit", "Shop", "--publish", "on_success")
    cli("push", "Shop", "-", stdin=line(1))
    (task,) = tasks_of(cli)
    assert (task["reason"], exported(cli)) == ("gate_failed", "")
    assert _told(cli, "tasks", "publish", task["fid"]) == f"Task {task['fid']} is published, with 1 document.\n"
    assert exported(cli).encode() == line(1)
    assert _told(cli, "crawlers", "gates", "Shop", "--off") == "Crawler Shop: every run is published.\n"


def test_crawlers_and_externals_are_deleted(cli):
    set_up(cli)
    cli("push", "Shop", "-", stdin=line(1))
    ran = cli("crawlers", "delete", "Shop", "--yes")
    assert (ran.returncode, "--cascade deletes it too" in ran.stderr) == (1, True)
    assert cli("crawlers", "delete", "Shop", "--cascade").returncode == 2  # nobody can be asked
    assert " is deleted.\n" in _told(cli, "crawlers", "delete", "Shop", "--cascade", "--yes")
    assert " is deleted.\n" in _told(cli, "externals", "delete", "Pages", "--yes")
    assert cli("externals", "show", "Pages").returncode == 3


def test_an_external_is_edited_as_a_new_version(cli):
    set_up(cli, schema={"properties": {"price": {"type": "number"}}})
    schema = {"properties": {"title": {"type": "string", "default": None}}}
    (cli.home / "schema.json").write_text(json.dumps(schema))
    words = ("--schema", "schema.json", "--endpoint", "http://127.0.0.1:9/ec", "--name", "Sheets")
    assert "is changed: endpoint, meta, schema." in _told(cli, "externals", "edit", "Pages", *words)
    external = cli.answer("externals", "show", "Sheets")
    assert (external["schema"], external["endpoint"], external["docIdField"]) == (schema, "http://127.0.0.1:9/ec", "id")
    assert external["version"] == 2
    _told(cli, "externals", "edit", "Sheets", "--push", "--doc-id-field", "sku")
    external = cli.answer("externals", "show", "Sheets")
    assert (external["endpoint"], external["docIdField"]) == (None, "sku")
    _told(cli, "externals", "edit", "Sheets", "--patch", "-", stdin=b'{"schema": null}')
    assert cli.answer("externals", "show", "Sheets")["schema"] is None


def test_the_changes_of_a_stream_and_the_history_of_a_document_are_shown(cli):
    set_up(cli)
    cli("push", "Shop", "-", stdin=b'{"id": "a", "n": 1}\n')
    cli("push", "Shop", "-", stdin=b'{"id": "a", "n": 2}\n{"id": "b"}\n')
    newer, older = tasks_of(cli)
    lines = [json.loads(text) for text in _told(cli, "streams", "changes", "Books", "--since", 1).splitlines()]
    assert lines == [
        {"op": "upsert", "id": "a", "doc": {"id": "a", "n": 2}, "task": newer["fid"]},
        {"op": "upsert", "id": "b", "doc": {"id": "b"}, "task": newer["fid"]},
        {"version": 2},
    ]
    versions = json.loads(_told(cli, "streams", "history", "Books", "a"))
    assert [(each["task"], each["standing"]) for each in versions] == [
        (newer["fid"], "shown"),
        (older["fid"], "covered"),
    ]
    with cli.terminal("streams", "changes", "Books", "--since", 1, columns=140) as terminal:
        assert terminal.end() == 0
    assert terminal.text == 'upsert   a  {"id": "a", "n": 2}\nupsert   b  {"id": "b"}\nversion  2\n'
    assert json.loads(_told(cli, "tasks", "diff", newer["fid"])) == {
        "added": 1,
        "changed": 1,
        "unchanged": 0,
        "removed": 0,
    }
    (changed,) = map(json.loads, _told(cli, "tasks", "diff", newer["fid"], "--op", "changed").splitlines())
    assert (changed["before"]["doc"]["n"], changed["after"]["doc"]["n"]) == (1, 2)
    with cli.terminal("tasks", "diff", newer["fid"], "--op", "changed") as terminal:
        assert terminal.end() == 0
    assert terminal.text == 'a\n  - {"id": "a", "n": 1}\n  + {"id": "a", "n": 2}\n'


def test_a_stream_is_renamed_reverted_and_restored(cli):
    set_up(cli)
    for number in range(3):
        cli("push", "Shop", "-", stdin=line(number))
    _told(cli, "streams", "rename", "Books", "Volumes")
    assert cli("streams", "revert", "Volumes").returncode == 2
    assert cli("streams", "revert", "Volumes", "--since", "yesterday").returncode == 2
    preview = json.loads(_told(cli, "streams", "revert", "Volumes", "--since", "1h", "--dry-run"))
    assert (preview["removed"], len(preview["tasks"])) == (3, 3)
    moved = json.loads(_told(cli, "streams", "revert", "Volumes", "--since", "1h", "--yes"))
    assert (len(moved["tasks"]), moved["stream_version"]) == (3, 4)
    assert _told(cli, "streams", "export", "Volumes") == ""
    with cli.terminal("streams", "restore", "Volumes", "--stream-version", 4, columns=120) as terminal:
        assert terminal.end() == 0
    assert terminal.text == "3 tasks of stream Volumes are back, which is now at version 5.\n"
    assert len(_told(cli, "streams", "export", "Volumes").splitlines()) == 3


def test_a_document_is_erased_after_it_was_asked(cli):
    set_up(cli)
    cli("push", "Shop", "-", stdin=line(1) + line(2))
    assert cli("streams", "erase", "Books", "00000001").returncode == 2
    with cli.terminal("streams", "erase", "Books", "00000001", columns=140) as terminal:
        terminal.answer("in any version. Erase it? [y/N]", "y")
        assert terminal.end() == 0
    assert "Erased 1 version of document '00000001' of stream Books." in terminal.text
    assert exported(cli).encode() == line(2)


def test_no_list_is_wider_than_80_columns(cli):
    set_up(cli)
    cli("push", "Shop", "-", stdin=line(1))
    for words in (["tasks"], ["streams"], ["externals"], ["crawlers"]):
        with cli.terminal(*words, "list", columns=80) as terminal:
            assert terminal.end() == 0
        assert max(map(len, terminal.text.splitlines())) <= 80
