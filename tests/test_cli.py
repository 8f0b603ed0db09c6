import socket

import pytest
from typer.testing import CliRunner

from headwater.catalog import migrate
from headwater.cli import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*words):
        return CliRunner().invoke(app, list(words))

    return invoke


def test_a_key_is_created_listed_and_revoked(run):
    created = run("keys", "create", "nightly", "--scope", "read", "--scope", "write")
    secret = created.stdout.strip()
    assert secret.startswith("hw_")
    fid = created.stderr.split()[0]
    listed = run("keys", "list").stdout
    assert fid in listed
    assert "read, write" in listed
    assert secret not in listed
    assert run("keys", "revoke", fid).exit_code == 0
    assert run("keys", "revoke", "nothing").exit_code == 1
    assert "there is no key 'nothing'" in run("keys", "revoke", "nothing").stderr


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


def test_every_command_explains_itself(run):
    for words in ((), ("serve",), ("migrate",), ("keys",), ("keys", "create"), ("keys", "list"), ("keys", "revoke")):
        answer = run(*words, "--help")
        assert answer.exit_code == 0
        assert "Usage" in answer.stdout


def test_what_cannot_be_reached_is_told_in_one_line(run, monkeypatch):
    monkeypatch.setenv("HEADWATER_DATABASE_URL", "postgresql+psycopg:///x?host=/nowhere")
    monkeypatch.setenv("HEADWATER_SECRET_KEY", "x" * 32)
    for words in (("keys", "list"), ("migrate",), ("serve",)):
        answer = run(*words)
        assert answer.exit_code == 1
        assert "the database does not answer" in answer.stderr


def test_a_port_that_is_taken_is_told_before_anything_is_begun(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = run("serve", "--port", str(taken.getsockname()[1]))
    assert answer.exit_code == 1
    assert "cannot listen on 127.0.0.1" in answer.stderr


def test_a_data_directory_that_cannot_be_made_is_told(run, tmp_path):
    (tmp_path / "file").touch()
    answer = run("keys", "list", "--data", str(tmp_path / "file" / "data"))
    assert answer.exit_code == 1
    assert "the data directory" in answer.stderr
