import asyncio
import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points

import pyarrow.parquet as pq
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from builders import SECRET, World
from headwater import data_lock
from headwater.catalog import audit, segment_tables
from headwater.catalog.audit import Wanted
from headwater.catalog.believed_time import believe
from headwater.catalog.core import migrate
from headwater.catalog.core.database import Database
from headwater.cli.commands import app
from headwater.domain.stream import Visibility
from headwater.settings import Settings
from headwater_client.cli.app import app as command_line

pytestmark = pytest.mark.usefixtures("logs_as_before")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def invoke(*words):
        return CliRunner().invoke(command_line if words[0] == "keys" else app, list(words), prog_name="headwater")

    return invoke


def test_a_key_is_created_listed_and_revoked(run):
    created = run("keys", "create", "nightly", "--scope", "read", "--scope", "write")
    secret = created.stdout.strip()
    assert secret.startswith("hw_")
    fid = created.stderr.split()[0]
    listed = run("keys", "list").stdout
    assert fid in listed
    assert json.loads(listed)[0]["scopes"] == ["read", "write"]
    assert secret not in listed
    assert run("keys", "revoke", fid).exit_code == 0
    assert run("keys", "revoke", "nothing").exit_code == 3
    assert "there is no key 'nothing'" in run("keys", "revoke", "nothing").stderr


def test_what_is_done_with_keys_is_audited_once(run, tmp_path):
    fid = run("keys", "create", "nightly", "--scope", "write").stderr.split()[0]
    for _ in range(2):
        assert run("keys", "revoke", fid).exit_code == 0
    run("keys", "list")
    db = Database(f"sqlite:///{tmp_path / 'headwater-data' / 'catalog.sqlite'}")
    entries = db.read_blocking(audit.page, Wanted(), before=None, limit=10)
    db.close()
    assert [(entry.action, entry.object_fid, entry.key, entry.name, entry.detail) for entry in entries] == [
        ("revoke_key", fid, None, "cli", {"name": "nightly"}),
        ("create_key", fid, None, "cli", {"name": "nightly", "scopes": ["write"]}),
    ]


def test_a_key_of_a_data_directory_is_rotated_and_expires(run):
    fid = run("keys", "create", "nightly", "--expires", "30d").stderr.split()[0]
    former = json.loads(run("keys", "show", "nightly").stdout)
    assert run("keys", "rotate", fid[:20], "--overlap", "1h").stdout.startswith("hw_")
    key = json.loads(run("keys", "show", "nightly").stdout)
    assert (key["fid"], key["version"], key["expires_at"]) == (fid, 2, former["expires_at"])
    assert key["former_until"] is not None
    assert datetime.fromisoformat(key["expires_at"]) > datetime.now(UTC) + timedelta(days=29)


def test_a_key_reads_unless_more_is_said(run):
    assert "(read)" in run("keys", "create", "reader").stderr


def test_migrate_says_what_it_did(run, tmp_path):
    first, second = run("migrate"), run("migrate")
    assert f"was at version none and is at {migrate.newest()}" in first.stdout
    assert f"was at version {migrate.newest()} and is at {migrate.newest()}" in second.stdout
    assert (tmp_path / "headwater-data" / "catalog.sqlite").exists()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HEADWATER_PORT", "x", "setting port"),
        ("HEADWATER_DATABASE_URL", "mysql://x/y", "no database that Headwater knows"),
        ("HEADWATER_SECRET_KEY", "short", "setting secret_key"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(run, monkeypatch, name, value, says):
    monkeypatch.setenv(name, value)
    answer = run("keys", "list")
    assert answer.exit_code == 1
    assert says in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_the_command_line_finds_every_command_of_the_server():
    points = entry_points(group="headwater.commands")
    assert {point.load() for point in points} == {app}
    commands = get_command(app).commands
    assert {point.name for point in points} == set(commands)


@pytest.mark.parametrize("module", ["headwater", "headwater_client"])
def test_commands_of_server_and_client_are_one_command_line(module, tmp_path):
    environment = {**os.environ, "HEADWATER_DATA": str(tmp_path / "data"), "HEADWATER_LOG_LEVEL": "error"}
    for words, begins in ((["keys", "create", "k"], b"hw_"), (["push", "--help"], b"Usage: headwater push ")):
        command = [sys.executable, "-m", module, *words]
        ran = subprocess.run(command, env=environment, capture_output=True, check=True)
        assert ran.stdout.startswith(begins)


def test_every_command_explains_itself(run):
    for words in ((), ("serve",), ("migrate",), ("keys",), ("keys", "create"), ("keys", "list"), ("keys", "revoke")):
        answer = run(*words, "--help")
        assert answer.exit_code == 0
        assert "Usage" in answer.stdout


def test_what_cannot_be_reached_is_told_in_one_line(run, monkeypatch):
    monkeypatch.setenv("HEADWATER_DATABASE_URL", "postgresql+psycopg:///x?host=/nowhere")
    monkeypatch.setenv("HEADWATER_SECRET_KEY", "x" * 32)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = str(probe.getsockname()[1])
    for words in (("keys", "list"), ("migrate",), ("serve", "--port", free)):
        answer = run(*words)
        assert answer.exit_code == 1
        assert "the database does not answer" in answer.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_told_before_anything_is_begun(run, tmp_path, workers):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = run("serve", "--port", str(taken.getsockname()[1]), "--workers", workers)
    assert answer.exit_code == 1
    assert "cannot listen on 127.0.0.1" in answer.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_server_on_one_data_directory_is_refused_before_it_changes_anything(run, tmp_path, workers):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = str(probe.getsockname()[1])
    with data_lock.held(Settings(data=tmp_path / "headwater-data")):
        answer = run("serve", "--port", free, "--workers", workers)
        assert answer.exit_code == 1
        assert "another server" in answer.stderr
        assert answer.stderr.count("\n") == 1
        assert [file.name for file in (tmp_path / "headwater-data").iterdir()] == [data_lock.FILE]
        for words in (("keys", "create", "k"), ("compact",), ("purge", "--older-than", "0", "--yes")):
            assert run(*words).exit_code == 0


def test_a_data_directory_that_cannot_be_made_is_told(run, tmp_path):
    (tmp_path / "file").touch()
    answer = run("keys", "list", "--data", str(tmp_path / "file" / "data"))
    assert answer.exit_code == 1
    assert "the data directory" in answer.stderr


def _documents(folder) -> int:
    """How many documents lie in the lake's files."""
    return sum(pq.ParquetFile(file).metadata.num_rows for file in folder.rglob("*.parquet"))


async def _uploaded(world, folder):
    """A data directory with a task of two uploads, and a deleted one."""
    crawler = await world.crawler()
    kept = await world.task(crawler)
    for name in "ab":
        await world.upload(kept, [{"id": name}])
    await world.report(kept, 200)
    await world.delete(await world.done(crawler, [{"id": "gone"}]))
    return crawler, folder / "lake"


@pytest.fixture
def operated(run, sqlite_url, tmp_path, monkeypatch):
    """A data directory that a world fills and the command line works on."""
    monkeypatch.setenv("HEADWATER_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("HEADWATER_SECRET_KEY", SECRET)
    monkeypatch.setenv("HEADWATER_DATA", str(tmp_path))
    db = Database(sqlite_url)
    world = World(db, tmp_path)
    world.as_files = True  # whose documents can be counted
    yield world, run
    world.close()
    db.close()


def test_compact_merges_what_has_ended(operated, tmp_path):
    world, run = operated
    crawler, lake = asyncio.run(_uploaded(world, tmp_path))
    answer = run("compact")
    assert (answer.exit_code, answer.stdout) == (
        0,
        "Compacted 1 attempt of tasks; folded 0 times; deleted 0 files merged earlier.\n",
    )
    assert len(asyncio.run(world.db.read(segment_tables.visible, crawler.stream, Visibility(version=2)))) == 1
    assert _documents(lake) == 5  # the former files are left for an hour to those who read them
    assert run("compact").stdout == "Compacted 0 attempts of tasks; folded 0 times; deleted 0 files merged earlier.\n"


def test_purge_deletes_what_was_removed_long_enough_ago_at_once(operated, tmp_path):
    world, run = operated
    crawler, lake = asyncio.run(_uploaded(world, tmp_path))
    for age, left in (("9999d", 3), ("0", 2)):
        answer = run("purge", "--older-than", age, "--yes")
        assert (answer.exit_code, _documents(lake)) == (0, left)
    assert answer.stdout == "Purged 1 document version; deleted 1 file.\n"
    assert set(asyncio.run(world.shown(crawler.stream))) == {"a", "b"}


def test_purge_asks_first(operated, tmp_path):
    world, run = operated
    _, lake = asyncio.run(_uploaded(world, tmp_path))
    answer = run("purge", "--older-than", "0")
    assert answer.exit_code == 1
    assert "Nothing brings back" in answer.stderr
    assert _documents(lake) == 3


@pytest.mark.parametrize("age", ["", "x", "5", "1y", "-1d", "1.5d"])
def test_an_age_that_is_none_is_told_in_one_line(run, age):
    answer = run("purge", "--older-than", age, "--yes")
    assert answer.exit_code != 0
    assert "is no age" in answer.stderr
    assert answer.stderr.count("\n") == 1


#: What no help needs, and what takes the longest to import.
HEAVY = ["asyncio", "duckdb", "fastapi", "httpx", "pyarrow", "rich.console", "scrapy", "sqlalchemy", "structlog"]


@pytest.mark.parametrize("words", [["--help"], ["push", "--help"], ["serve", "--help"], ["keys", "list", "--help"]])
def test_help_is_shown_without_what_the_command_itself_needs(words):
    program = "import sys, atexit; from headwater_client.cli import main; sys.argv = ['headwater', *sys.argv[2:]]\n"
    program += f"atexit.register(lambda: print('loaded:', *(name for name in {HEAVY} if name in sys.modules)))\nmain()"
    ended = subprocess.run([sys.executable, "-c", program, "-", *words], capture_output=True, text=True, check=True)
    assert "Usage: headwater" in ended.stdout
    assert ended.stdout.splitlines()[-1].split() == ["loaded:"]


async def test_a_purge_by_a_clock_that_seems_to_have_jumped_is_refused(operated):
    world, run = operated
    await _uploaded(world, world.store.root.parent)
    await world.db.write(believe, datetime.now(UTC) - timedelta(days=31))
    refused = await asyncio.to_thread(run, "purge", "--older-than", "1d", "--yes")
    assert refused.exit_code == 1
    assert "the clock says" in refused.stderr
    assert "--trust-clock" in refused.stderr
    trusted = await asyncio.to_thread(run, "purge", "--older-than", "1d", "--yes", "--trust-clock")
    assert "Purged 1 document version" in trusted.stdout


def test_a_link_to_the_console_is_printed_for_a_key_that_is_valid(run):
    assert "there is no valid admin key" in run("console", "--print").stderr
    fid = run("keys", "create", "anna", "--scope", "admin").stderr.split()[0]
    made = run("console", "--print", "--port", "8123")
    assert made.stdout.startswith("http://127.0.0.1:8123/console/enter?link=")
    assert "with the key 'anna'" in made.stderr
    run("keys", "revoke", fid)
    assert "there is no valid key" in run("console", "--print", "--key", fid).stderr
