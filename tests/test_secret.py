"""The secret key: checked at each start, made anew, given up, never taken for another one."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text
from typer.testing import CliRunner

from builders import a_crawler, a_stream, a_webhook, an_external
from headwater import bootstrap
from headwater.bootstrap import NotReady, prepare
from headwater.catalog import crawlers, keys, objects, sealing, tables
from headwater.catalog.core.database import Database
from headwater.catalog.objects import EXTERNALS, STREAMS, WEBHOOKS
from headwater.catalog.vault import Vault
from headwater.cli.commands import app
from headwater.domain.parameter import Parameter, ParameterType
from headwater.domain.task import Origin
from headwater.lifecycle import tasks as task_actions
from headwater.settings import Settings
from headwater_client.cli.app import app as command_line

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PIN = Parameter(name="pin", type=ParameterType.PASSWORD)
OTHER = "another secret key, which is long enough"


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(data=tmp_path / "data")


def _vault(settings) -> Vault:
    return Vault(bootstrap.secret_key(settings))


def _on(settings, action, *args, **kwargs):
    db = Database(settings.catalog_url, readers=1, writers=1)
    try:
        return asyncio.run(db.write(action, *args, **kwargs))
    finally:
        db.close()


def _fill(tx, vault):
    """Store one of each thing that is sealed, in a catalog that is used."""
    external = an_external(
        endpoint="http://ec.test", headers=vault.seal_headers({"X-Key": "k3y"}, {}), parameters=(PIN,)
    )
    stream = objects.add(tx, STREAMS, a_stream())
    objects.add(tx, EXTERNALS, external)
    crawler = a_crawler(
        stream,
        external,
        params=vault.seal_passwords((PIN,), {"pin": "4711"}),
        sealed_credential=vault.seal({"user": "jo", "password": "hunter2"}),
        credential_type="basic",
    )
    crawlers.add(tx, crawler)
    objects.add(tx, WEBHOOKS, a_webhook(vault=vault, sealed_former=vault.seal("whsec_x"), former_until=NOW))
    return task_actions.create(tx, crawler.fid, {}, vault=vault, origin=Origin.API, at=NOW).task


def _sealed(tx):
    return sorted(sealing.sealed_values(tx))


@pytest.fixture
def used(settings):
    """Settings of a Headwater that was started and used."""
    prepare(settings, at=NOW)
    _on(settings, _fill, _vault(settings))
    return settings


def test_the_first_start_keeps_a_check_value_that_does_not_tell_the_key(settings):
    prepare(settings, at=NOW)
    kept = _on(settings, sealing.check_value)
    assert kept == _vault(settings).check_value
    assert bootstrap.secret_key(settings) not in kept
    assert Vault(OTHER).check_value != kept


def test_each_thing_that_is_sealed_is_found(used):
    # An External's header, parameters of crawler and task, a credential, a webhook's two secrets, a notice.
    assert len(_on(used, _sealed)) == 7


def test_a_wrong_key_is_refused_in_words_and_changes_nothing(used):
    before = _on(used, _sealed)
    wrong = used.model_copy(update={"secret_key": Settings(secret_key=OTHER).secret_key})
    with pytest.raises(NotReady, match=r"HEADWATER_SECRET_KEY.* is not the one .*--new-secret"):
        prepare(wrong, at=NOW)
    assert _on(used, _sealed) == before
    prepare(used, at=NOW)


def test_a_lost_key_is_not_made_anew_over_what_it_sealed(used):
    (used.data / "secret.key").unlink()
    for start in (lambda: prepare(used, at=NOW), lambda: bootstrap.secret_key(used)):
        with pytest.raises(NotReady, match=r"is gone, .*--new-secret"):
            start()
    assert not (used.data / "secret.key").exists()


@pytest.mark.parametrize("content", ["", "cut off"])
def test_a_damaged_key_is_refused_in_words(used, content):
    (used.data / "secret.key").write_text(content)
    with pytest.raises(NotReady, match="is damaged"):
        prepare(used, at=NOW)
    prepare(used, at=NOW, is_secret_given_up=True)


def test_a_catalog_from_before_check_values_tells_a_wrong_key_by_what_is_sealed(used):
    engine = create_engine(used.catalog_url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM secret_check"))
    engine.dispose()
    key = (used.data / "secret.key").read_text()
    (used.data / "secret.key").unlink()
    with pytest.raises(NotReady, match="is gone"):
        prepare(used, at=NOW)
    (used.data / "secret.key").write_text(OTHER)
    with pytest.raises(NotReady, match="is not the one"):
        prepare(used, at=NOW)
    (used.data / "secret.key").write_text(key)
    prepare(used, at=NOW)
    assert _on(used, sealing.check_value) == Vault(key.strip()).check_value


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_new_secret_gives_up_what_was_sealed_and_the_rest_goes_on(used, is_lost):
    (used.data / "secret.key").unlink() if is_lost else (used.data / "secret.key").write_text(OTHER)
    prepare(used, at=NOW, is_secret_given_up=True)
    prepare(used, at=NOW)
    vault = _vault(used)

    def look(tx):
        (webhook,) = tx.values(WEBHOOKS.rows, WEBHOOKS.value)
        (crawler,) = tx.execute(select(tables.crawlers)).all()
        (task,) = tx.execute(select(tables.tasks)).all()
        (definition,) = tx.execute(select(tables.external_versions.c.definition)).scalars()
        notices = tx.execute(select(tables.notices)).all()
        return webhook, crawler, task, definition, notices

    webhook, crawler, task, definition, notices = _on(used, look)
    assert (crawler.params, crawler.sealed_credential, crawler.credential_type) == ({}, None, None)
    assert (task.params, definition["headers"], notices) == ({}, {}, [])
    assert task.deadline is not None
    assert (webhook.enabled, webhook.sealed_former) == (False, None)
    assert vault.unseal(webhook.sealed_secret).startswith("whsec_")
    assert "secret key" in webhook.disabled_reason


def test_rotation_seals_everything_with_the_new_key(used):
    old = _vault(used)
    before = sorted(str(old.unseal(sealed)) for sealed in _on(used, _sealed))
    assert bootstrap.rotate_secret(used, None) == 7
    new = _vault(used)
    assert new.check_value != old.check_value
    assert sorted(str(new.unseal(sealed)) for sealed in _on(used, _sealed)) == before
    prepare(used, at=NOW)
    assert sorted(file.name for file in used.data.glob("*key*")) == ["admin.key", "secret.key"]
    assert (used.data / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_rotation_that_was_killed_is_finished_or_undone_by_the_next_start(used):
    old, new = _vault(used), Vault(OTHER)
    staged = used.data / "secret.key.next"
    staged.write_text(OTHER)  # killed before the commit
    prepare(used, at=NOW)
    assert _vault(used).check_value == old.check_value
    _on(used, sealing.seal_anew, old, new)  # killed behind it
    staged.write_text(OTHER)
    prepare(used, at=NOW)
    assert _vault(used).check_value == new.check_value
    assert not staged.exists()


def test_the_key_of_a_setting_is_rotated_to_one_that_is_given(used):
    key = (used.data / "secret.key").read_text().strip()
    (used.data / "secret.key").unlink()
    given = Settings(data=used.data, secret_key=key)
    with pytest.raises(NotReady, match="--new-key"):
        bootstrap.rotate_secret(given, None)
    assert bootstrap.rotate_secret(given, OTHER) == 7
    with pytest.raises(NotReady, match="is not the one"):
        prepare(given, at=NOW)
    prepare(Settings(data=used.data, secret_key=OTHER), at=NOW)


def test_headers_from_before_they_were_sealed_are_sealed_at_the_first_start(settings):
    bootstrap.prepare_catalog(settings)
    external = an_external(headers={"X-Key": "k3y", "X-Other": "v"})
    _on(settings, objects.add, EXTERNALS, external)
    prepare(settings, at=NOW)
    stored = _on(settings, objects.get, EXTERNALS, external.fid).definition.headers
    assert "k3y" not in str(stored)
    assert _vault(settings).unseal_headers(stored) == {"X-Key": "k3y", "X-Other": "v"}


def test_what_a_killed_start_left_under_our_process_id_stops_no_start(settings):
    settings.data.mkdir()
    for name in ("secret.key", "admin.key"):
        (settings.data / f"{name}.{os.getpid()}").write_text("half")
    prepare(settings, at=NOW)
    assert len(bootstrap.secret_key(settings)) >= 32


def test_many_that_start_at_once_agree_on_one_key(settings):
    code = (
        "from pathlib import Path; from datetime import datetime, UTC; from headwater.bootstrap import prepare, "
        "secret_key; from headwater.settings import Settings; import sys; s = Settings(data=Path(sys.argv[1])); "
        "prepare(s, at=datetime.now(UTC)); print('key', secret_key(s))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(settings.data)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    found = {line for each in started for line in each.communicate()[0].splitlines() if line.startswith("key ")}
    assert [each.returncode for each in started] == [0] * 3
    assert len(found) == 1


def _run(*words: str, data: Path):
    return CliRunner().invoke(command_line if words[0] == "keys" else app, [*words, "--data", str(data)])


def test_an_admin_key_that_was_lost_is_made_anew(used):
    (used.data / "admin.key").unlink()
    ran = _run("keys", "admin", data=used.data)
    assert ran.exit_code == 0, ran.output
    secret = (used.data / "admin.key").read_text().strip()
    assert secret == ran.stdout.splitlines()[-1]
    assert (used.data / "admin.key").stat().st_mode & 0o777 == 0o600
    found = _on(used, keys.find, secret, datetime.now(UTC))
    assert [scope.value for scope in found.scopes] == ["admin"]


def test_the_command_rotates_and_says_how_much(used):
    ran = _run("secret", "rotate", "--yes", data=used.data)
    assert (ran.exit_code, ran.stdout) == (0, "7 values sealed anew.\n")
    assert _run("secret", "rotate", data=used.data).exit_code == 1  # nobody says yes


def test_the_command_refuses_a_new_key_that_is_none(used, tmp_path):
    assert _run("secret", "rotate", "--yes", "--new-key", str(tmp_path / "none"), data=used.data).exit_code == 1
    (tmp_path / "short").write_text("short")
    ran = _run("secret", "rotate", "--yes", "--new-key", str(tmp_path / "short"), data=used.data)
    assert (ran.exit_code, "fewer than 32" in ran.output) == (1, True)


def test_a_wrong_key_ends_serve_with_words_and_no_traceback(used):
    (used.data / "secret.key").write_text(OTHER)
    ran = _run("serve", "--port", "18931", data=used.data)
    assert ran.exit_code == 1
    (told,) = [line for line in ran.output.splitlines() if "server.starts" not in line]
    assert "--new-secret" in told
