"""The command line against a served Headwater, as somebody uses it."""

import json
import signal
import stat
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from end_to_end.command_line import CommandLine, empty, exported, line, set_up, tasks_of
from end_to_end.conftest import Served, made
from workbooks import sheets_of


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


def test_a_login_is_kept_for_the_commands_that_follow(cli):
    key = cli.environment.pop("HEADWATER_KEY")
    cli.environment.pop("HEADWATER_URL")
    assert cli("tasks", "list").returncode == 4
    ran = cli("login", cli.served.url, "--key-stdin", stdin=f"{key}\n".encode())
    file = cli.home / "config/headwater/login.json"
    assert ran.stdout == f"Logged in to {cli.served.url}; the key may read and write. It is kept in {file}.\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert cli.answer("tasks", "list") == []
    assert cli("logout").stdout == f"The key for {cli.served.url} is forgotten.\n"
    assert cli("logout").returncode == 1


def test_a_login_asks_and_does_not_show_the_key(cli):
    key = cli.environment.pop("HEADWATER_KEY")
    with cli.terminal("login", columns=140) as terminal:
        terminal.answer("Key", key)
        assert terminal.end() == 0
    assert key not in terminal.text
    assert "the key may read and write" in terminal.text
    reader = cli("keys", "create", "reader", "--data", cli.served.data).stdout.strip()
    assert "the key may read." in cli("login", "--key-stdin", stdin=reader.encode()).stdout


def test_a_key_that_is_wrong_is_not_kept(cli):
    ran = cli("login", "--key-stdin", stdin=b"hw_wrong")
    assert (ran.returncode, ran.stdout) == (4, "")
    assert "the API key is unknown, revoked or expired" in ran.stderr
    assert not (cli.home / "config").exists()


def test_a_key_that_may_only_read_does_not_push(cli):
    set_up(cli)
    (cli.home / "a.ndjson").write_bytes(line(1))
    cli.environment["HEADWATER_KEY"] = cli("keys", "create", "reader", "--data", cli.served.data).stdout.strip()
    ran = cli("push", "Shop", "a.ndjson")
    assert ran.returncode == 4
    assert ran.stderr == "headwater: key 'reader' has the scopes read; this needs write\n"


def test_the_audit_is_listed_by_what_is_asked_for(cli):
    made = cli.answer("streams", "create", "Books")
    cli("streams", "delete", "Books", "--yes")
    entries = cli.answer("audit", "--object", made["fid"])
    assert [(entry["action"], entry["origin"]) for entry in entries] == [
        ("delete_stream", "cli"),
        ("create_stream", "cli"),
    ]
    assert cli.answer("audit", "--object", made["fid"], "--action", "patch_stream") == []
    with cli.terminal("audit", "--object", made["fid"], columns=140) as terminal:
        assert terminal.end() == 0
    assert f"admin  delete_stream  {made['fid']}  name=Books" in terminal.text
    assert cli("audit", "--since", "yesterday").returncode == 1


# Tasks.


def test_watching_ends_as_the_task_does(cli):
    crawler = set_up(cli)
    ends = {200: (0, "done"), 500: (1, "failed"), 410: (6, "stopped")}
    for code, (exit_code, state) in ends.items():
        task = cli.answer("tasks", "start", "Shop")
        watching = cli.begin("tasks", "watch", task["fid"])
        with cli.served.client() as client:
            if code == 410:
                client.post(f"/actions/tasks/{task['fid']}/stop").raise_for_status()
            else:
                client.post(f"/actions/tasks/{task['fid']}/status", json={"code": code}).raise_for_status()
        told = json.loads(watching.communicate(timeout=60)[0])
        assert (watching.returncode, told["state"]) == (exit_code, state)
    with cli.served.client() as client:
        client.patch(f"/crawlers/{crawler['fid']}", json={"timeout": 1}).raise_for_status()
    ran = cli("tasks", "start", "Shop", "--watch")
    assert (ran.returncode, json.loads(ran.stdout)["state"]) == (8, "timed_out")


def test_watching_on_a_terminal_is_a_line_that_changes(cli):
    set_up(cli)
    with cli.terminal("tasks", "start", "Shop", "--watch") as terminal:
        terminal.expect("nothing heard yet")
        (task,) = tasks_of(cli)
        with cli.served.client() as client:
            client.post(f"/actions/tasks/{task['fid']}/upload", content=line(1)).raise_for_status()
            terminal.expect("running  1 document")
            client.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200}).raise_for_status()
        assert terminal.end() == 0
    assert f"{task['fid']}  done  1 document" in terminal.frames()[-1]


def test_a_second_task_is_not_started_while_one_is_open(cli):
    set_up(cli)
    task = cli.answer("tasks", "start", "Shop")
    assert task["upload"]["endpoint"].endswith(task["upload"]["token"])
    ran = cli("tasks", "start", "Shop")
    assert ran.returncode == 6
    assert f"task {task['fid']} of this crawler is open already" in ran.stderr


def test_a_task_is_deleted_when_it_is_agreed_to_and_comes_back(cli):
    set_up(cli)
    for number in (1, 2):
        (cli.home / "a.ndjson").write_bytes(line(0) + line(number))
        assert cli("push", "Shop", "a.ndjson").returncode == 0
    newer, older = (task["fid"] for task in tasks_of(cli))
    assert cli.answer("tasks", "delete", newer, "--dry-run") == {
        "stream": tasks_of(cli)[0]["stream"],
        "tasks": [newer],
        "removed": 1,
        "restored": 1,
        "unaffected": 0,
    }
    ran = cli("tasks", "delete", newer)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.endswith("headwater: nobody can be asked here, so say --yes\n")
    with cli.terminal("tasks", "delete", newer) as terminal:
        terminal.answer("Take them out of the stream? [y/N]", "n")
        assert terminal.end() == 1
    assert "        1 document would be gone" in terminal.text
    assert exported(cli).encode() == line(0) + line(1) + line(2)
    with cli.terminal("tasks", "delete", newer) as terminal:
        terminal.answer("Take them out of the stream? [y/N]", "y")
        assert terminal.end() == 0
    assert f"Task {newer} is deleted. Stream Books is at version 3." in terminal.text
    assert exported(cli).encode() == line(0) + line(1)
    assert cli("tasks", "restore", newer).returncode == 0
    assert exported(cli).encode() == line(0) + line(1) + line(2)
    assert cli("tasks", "delete", newer, older, "--yes").returncode == 0
    assert exported(cli) == ""
    assert cli.answer("streams", "log", "Books")[0]["tasks"] == [older, newer]
    assert cli("tasks", "delete", "f" * 32, "--yes").returncode == 3


@pytest.mark.parametrize("columns", [80, 140])
def test_tables_show_fids_whole(cli, columns):
    crawler = set_up(cli)
    (cli.home / "a.ndjson").write_bytes(line(0))
    cli("push", "Shop", "a.ndjson")
    (task,) = tasks_of(cli)
    lists = {
        ("tasks", "list"): (task["fid"], "done", "1", "Shop"),
        ("tasks", "list", "--state", "done", "--crawler", "Shop", "--stream", "Books"): (task["fid"],),
        ("streams", "list"): (crawler["stream"], "done", "Books"),
        ("streams", "log", "Books"): (task["fid"], "upload"),
        ("streams", "docs", "Books"): ("00000000", '{"id": "00000000"'),
        ("crawlers", "list"): (crawler["fid"], "Shop", "Books"),
        ("externals", "list"): (crawler["external"], "Pages", "(push)"),
        ("streams", "history", "Books", "00000000"): (task["fid"], "shown"),
        ("streams", "bisect", "Books", "--id", "00000000"): (task["fid"], "upload", "+1"),
        ("audit",): (crawler["fid"], "create_crawler"),
        ("tasks", "show", task["fid"]): (f"{crawler['fid']} (Shop)", f"{crawler['stream']} (Books)"),
    }
    for words, cells in lists.items():
        with cli.terminal(*words, columns=columns) as terminal:
            assert terminal.end() == 0
        assert [cell for cell in cells if cell not in terminal.text] == []
        # A command to copy is not cut.
        shown = [line for line in terminal.text.split("\n") if "headwater streams revert" not in line]
        assert "show" in words or all(len(line) <= columns for line in shown)
    with cli.terminal("tasks", "list", "--state", "failed", columns=columns) as terminal:
        assert terminal.end() == 0
    assert terminal.text == "headwater: there are no tasks\n"


# Streams, Externals, crawlers.


def test_a_crawler_is_set_up_by_words_alone(cli):
    described = {
        "meta": {"name": "Pages"},
        "credential": "basic",
        "parameters": [
            {"name": "shop", "type": "list", "options": ["north", "south"], "req": True},
            {"name": "pages", "type": "integer", "max": 9, "default": 3},
        ],
    }
    (cli.home / "external.json").write_text(json.dumps(described))
    assert cli("externals", "register", "external.json").stdout.endswith("(Pages) is created, version 1.\n")
    assert cli("externals", "register", "external.json").stdout.endswith("is as the file says already, version 1.\n")
    ran = cli("crawlers", "create", "Shop", "-e", "Pages", "--new-stream", "Books")
    assert (ran.returncode, ran.stderr) == (2, "headwater: parameter 'shop' is missing: --param shop=north|south\n")
    assert cli.answer("streams", "list") == []
    words = ("crawlers", "create", "Shop", "-e", "Pages", "--new-stream", "Books", "-p", "shop=north", "--json")
    ran = cli(*words, "--credential", "jo", "--password-stdin", "--publish", "on_success", stdin=b"secret\n")
    crawler = json.loads(ran.stdout)
    assert crawler["params"] == {"shop": "north"}
    assert (crawler["credential"], crawler["publish"]) == ({"type": "basic"}, "on_success")
    assert [stream["meta"]["name"] for stream in cli.answer("streams", "list")] == ["Books"]
    ran = cli("crawlers", "create", "Other", "-e", "Pages", "-s", "Books", "-p", "shop=north")
    assert ran.returncode == 2
    assert "--credential USER --password-stdin" in ran.stderr


def test_parameters_that_are_not_given_are_asked_for(cli):
    parameters = [
        {"name": "shop", "type": "list", "options": ["north", "south"], "req": True},
        {"name": "secret", "type": "password", "req": True, "description": "Of the shop."},
        {"name": "pages", "type": "integer", "max": 9, "default": 3},
        {"name": "note", "type": "string"},
    ]
    described = {"meta": {"name": "Pages"}, "parameters": parameters, "credential": "basic"}
    (cli.home / "external.json").write_text(json.dumps(described))
    cli("externals", "register", "external.json")
    with cli.terminal("crawlers", "create", "Shop", "-e", "Pages", "--new-stream", "Books") as terminal:
        terminal.answer("shop (north|south)", "west")
        terminal.expect("not one of north, south.")
        terminal.answer("shop (north|south)", "south")
        terminal.expect("Of the shop.")
        terminal.answer("secret (password)", "hunter2")
        terminal.answer("pages (integer to 9) [3]", "10")
        terminal.answer("pages (integer to 9) [3]", "")
        terminal.answer("note (string), or nothing", "")
        terminal.answer("User", "jo")
        terminal.answer("Password", "hunter3")
        assert terminal.end() == 0
    assert "hunter" not in terminal.text
    crawler = cli.answer("crawlers", "show", "Shop")
    assert crawler["params"] == {"shop": "south", "secret": "********", "pages": 3}
    assert crawler["credential"] == {"type": "basic"}


def test_a_stream_that_its_crawler_cannot_feed_is_not_left_behind(cli):
    (cli.home / "external.json").write_text('{"meta": {"name": "Pages"}}')
    cli("externals", "register", "external.json")
    ran = cli("crawlers", "create", "Shop", "-e", "Pages", "--new-stream", "Books", "--timeout", 10**12)
    assert ran.returncode == 1
    assert cli.answer("streams", "list") == []


def test_streams_are_made_exported_and_deleted(cli):
    set_up(cli)
    made_ = cli.answer("streams", "create", "Spare", "--description", "For later")
    assert made_["meta"] == {"name": "Spare", "description": "For later"}
    assert cli("streams", "delete", "Spare", "-y").returncode == 0
    (cli.home / "a.ndjson").write_bytes(line(1) + line(2))
    cli("push", "Shop", "a.ndjson")
    cli("push", "Shop", "-", stdin=line(3))
    for name in ("out.ndjson", "out.csv", "out.parquet"):
        ran = cli("streams", "export", "Books", "-o", name)
        assert (ran.returncode, ran.stdout) == (0, "")
        assert ran.stderr.startswith(f"{name}: ")
    assert (cli.home / "out.ndjson").read_bytes() == line(1) + line(2) + line(3)
    assert (cli.home / "out.csv").read_text().startswith("id,title\n") or "id" in (cli.home / "out.csv").read_text()
    assert (cli.home / "out.parquet").read_bytes().startswith(b"PAR1")
    ran = cli("streams", "export", "Books", "-o", "out.xlsx", "-w", 'id="00000002"', "--fields", "id")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert sheets_of((cli.home / "out.xlsx").read_bytes()) == [[["id"], ["00000002"]]]
    typed = ("--columns", "infer", "--no-document", "-q", "00000003")
    assert cli("streams", "export", "Books", "-o", "typed.parquet", *typed).returncode == 0
    table = pq.read_table(cli.home / "typed.parquet")
    assert (table.column_names[:3], table.num_rows) == (["_id", "_task", "id"], 1)
    assert cli(
        "streams", "export", "Books", "--format", "csv", "--bom", "--defuse", "--fields", "id"
    ).stdout.startswith("\ufeffid")
    for name, form in (("out.xls", None), ("out.csv.gz", None), ("other.xlsx", "ndjson"), ("other.csv", "parquet")):
        ran = cli("streams", "export", "Books", "-o", name, *(("--format", form) if form else ()))
        assert (ran.returncode, (cli.home / name).exists()) == (2, False), ran.stderr
    newest = tasks_of(cli)[0]["fid"]
    for view in (("--as-of", 1), ("--without", newest)):
        assert cli("streams", "export", "Books", *view).stdout.encode() == line(1) + line(2)
        documents = cli("streams", "docs", "Books", *view).stdout.splitlines()
        assert [json.loads(line)["id"] for line in documents] == ["00000001", "00000002"]
    found = cli("streams", "docs", "Books", "-w", 'id="00000003"', "-q", "long")
    assert [json.loads(line)["id"] for line in found.stdout.splitlines()] == ["00000003"]
    ran = cli("streams", "delete", "Books", "--yes")
    assert ran.returncode == 1
    assert "--cascade deletes it too" in ran.stderr
    assert cli("streams", "delete", "Books", "--yes", "--cascade").returncode == 0
    assert cli("streams", "show", "Books").returncode == 3


def test_an_export_that_fails_leaves_no_file(cli):
    set_up(cli)
    ran = cli("streams", "export", "Books", "-o", "out.ndjson", "--as-of", 99)
    assert ran.returncode == 1
    assert [path.name for path in cli.home.glob("*out*")] == []


def test_a_name_that_several_have_is_told_with_their_fids(cli):
    with cli.served.client() as client:
        fids = [made(client, "/streams", {"meta": {"name": "Twins"}})["fid"] for _ in range(2)]
    ran = cli("streams", "show", "Twins")
    assert ran.returncode == 2
    assert all(fid in ran.stderr for fid in fids)
    assert cli.answer("streams", "show", fids[0])["fid"] == fids[0]


# Elsewhere.


def test_who_stops_reading_is_not_told_anything(cli):
    set_up(cli)
    cli("push", "Shop", "-", stdin=b"".join(map(line, range(20_000))))
    for words in (["streams", "export", "Books"], ["streams", "docs", "Books", "-n", "0"]):
        with cli.begin(*words) as process:
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 141


def test_a_server_that_is_not_there_is_told(serve, tmp_path):
    cli = CommandLine(serve(), tmp_path)
    cli.served.stop()
    ran = cli("tasks", "list")
    assert ran.returncode == 7
    assert ran.stderr == f"headwater: {cli.served.url} does not answer: Connection refused\n"


def test_names_are_completed(cli):
    crawler = set_up(cli)
    cli.environment |= {"_HEADWATER_COMPLETE": "complete_bash", "COMP_WORDS": "headwater push Sh", "COMP_CWORD": "2"}
    assert cli().stdout.splitlines() == ["Shop"]
    cli.environment |= {"COMP_WORDS": "headwater tasks list --crawler ", "COMP_CWORD": "4"}
    assert cli().stdout.splitlines() == ["Shop", crawler["fid"]]
    cli.environment |= {"COMP_WORDS": "headwater ta", "COMP_CWORD": "1"}
    assert cli().stdout.splitlines() == ["tasks"]


def test_a_server_takes_no_notice_of_what_is_meant_for_its_clients(cli):
    assert cli("keys", "list", "--data", cli.served.data).returncode == 0


def test_what_is_no_headwater_is_told(cli):
    class_ = "import http.server; http.server.test(HandlerClass=http.server.SimpleHTTPRequestHandler, port=0)"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", class_], cwd=cli.home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as other:
        port = other.stdout.readline().split("port ")[1].split()[0]
        (cli.home / "streams").write_text("<html>")
        ran = cli("streams", "list", "--url", f"http://127.0.0.1:{port}")
        other.send_signal(signal.SIGKILL)
    assert ran.returncode == 1
    assert ran.stderr.endswith(" answers application/octet-stream: it is no Headwater, or not its URL\n")


def test_a_task_that_a_script_starts_is_not_the_command_lines(cli):
    crawler = set_up(cli)
    with cli.served.client() as client:
        assert made(client, f"/actions/crawlers/{crawler['fid']}/task")["origin"] == "api"
